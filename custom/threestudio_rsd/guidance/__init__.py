"""Registered guidance modules and the prompt processor: thin shells over the plain-PyTorch parts."""

from . import esd, nfsd, prompt_processor, sds, svgd, vsd

__all__ = ["esd", "nfsd", "prompt_processor", "sds", "svgd", "vsd"]
