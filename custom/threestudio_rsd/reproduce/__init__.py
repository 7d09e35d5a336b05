"""Tables and figures of the paper: definitions, runs and results."""
