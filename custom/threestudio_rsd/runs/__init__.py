"""Starting, resuming and reading many runs."""
