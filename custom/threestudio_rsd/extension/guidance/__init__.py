"""Registered guidance modules; the computations are those of `distillation` and `repulsion`."""

from . import esd, nfsd, sds, svgd, vsd

__all__ = ["esd", "nfsd", "sds", "svgd", "vsd"]
