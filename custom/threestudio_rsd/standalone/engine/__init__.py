"""Stand-in for threestudio's launch.py: checks, training, checkpoints, progress bar and random state."""
