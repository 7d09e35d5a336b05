"""What threestudio's launch.py does: checks, training, checkpoints, progress bar and random state."""
