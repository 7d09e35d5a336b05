"""Registered systems."""

from . import ancestral_sampling, dreamfusion, images, inverse, particle_guidance, prolificdreamer

__all__ = ["ancestral_sampling", "dreamfusion", "images", "inverse", "particle_guidance", "prolificdreamer"]
