"""Registered guidance modules and the prompt processor: thin shells over the plain-PyTorch parts."""

from . import nfsd, prompt_processor, sds, svgd, vsd

__all__ = ["nfsd", "prompt_processor", "sds", "svgd", "vsd"]
