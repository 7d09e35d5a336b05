"""The command `rsd`: argument parsing and printing, one file per sub-command."""
