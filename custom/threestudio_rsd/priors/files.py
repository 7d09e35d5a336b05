"""Which files a model's name stands for."""

from ..files import data_path

BUNDLED = {"bundled": "load/toyworld/text-to-image", "bundled-pixel": "load/toyworld/pixel"}


def is_bundled(model: str) -> bool:
    """Whether the name is that of a prior that ships."""
    return model in BUNDLED


def resolve_model(model: str) -> str:
    """Folder or hub id that a name stands for."""
    return str(data_path(BUNDLED[model])) if is_bundled(model) else model
