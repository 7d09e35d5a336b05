"""Tables and figures of the paper: their settings, runs and results."""
