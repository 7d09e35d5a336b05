"""How the bundled world's networks are trained: `rsd toyworld train` rebuilds them all from a seed."""
