"""Registered guidance modules: thin shells over the plain-PyTorch parts."""

from . import esd, nfsd, sds, svgd, vsd

__all__ = ["esd", "nfsd", "sds", "svgd", "vsd"]
