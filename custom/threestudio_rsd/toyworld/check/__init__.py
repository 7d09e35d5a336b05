"""Checks of the bundled networks against the renderer."""
