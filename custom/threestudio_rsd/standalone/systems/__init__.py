"""Base classes of systems and their optimizers, as in threestudio's `systems` folder."""
