"""Encodings and MLPs of NeRFs."""
