"""Configs, registry, saving, messages and base classes, as in threestudio's `utils` folder."""
