"""Families of text-to-image models: one file for each, thin over diffusers' own modules."""
