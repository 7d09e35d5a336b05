"""The command `rsd`: one file for each of its commands, which parses arguments and prints results."""

__all__ = ["main"]
