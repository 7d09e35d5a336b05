"""Registered guidance modules; the computations are those of `distillation` and `repulsion`."""

from . import dsd, esd, nfsd, sdi, sds, svgd, vsd, wrapper

__all__ = ["dsd", "esd", "nfsd", "sdi", "sds", "svgd", "vsd", "wrapper"]
