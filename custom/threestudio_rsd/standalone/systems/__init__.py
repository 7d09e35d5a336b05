"""Base classes of systems, optimizers and schedulers, as in threestudio's `systems` folder."""
