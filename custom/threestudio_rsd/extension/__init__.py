"""Everything that is registered in threestudio, or in the stand-in that replaces it."""

__all__ = ["data", "ensembles", "guidance", "prompt_processor", "systems", "threestudio_dreamfusion"]
