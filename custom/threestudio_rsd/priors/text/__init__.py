"""Prompt embeddings: tokens, the model's text encoder, and a cache on disk."""

from .embeddings import embed_prompts

__all__ = ["embed_prompts"]
