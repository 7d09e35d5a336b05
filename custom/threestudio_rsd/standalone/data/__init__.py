"""Cameras, as in threestudio's `data` folder."""
