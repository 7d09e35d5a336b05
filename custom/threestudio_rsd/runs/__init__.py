"""Starting, resuming and reading many runs."""

__all__ = ["checking", "grid", "launching", "preloaded", "run", "run_set", "sweep", "trial", "workers"]
