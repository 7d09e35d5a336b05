"""Training loop of the stand-in: launch, checks, checkpoints, progress and random state."""
