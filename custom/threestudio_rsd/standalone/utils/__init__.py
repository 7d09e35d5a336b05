"""Configs, registry, saving and messages, as in threestudio's `utils` folder."""
