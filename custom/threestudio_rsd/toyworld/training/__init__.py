"""Training of the bundled world's networks; `rsd toyworld train` rebuilds all of them from a seed."""
