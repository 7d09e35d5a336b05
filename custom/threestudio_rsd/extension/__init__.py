"""All modules that are registered in threestudio or its stand-in."""
