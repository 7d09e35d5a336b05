"""Which files a model's name stands for."""

from ..paths import data_path

BUNDLED = "bundled"


def is_bundled(model: str) -> bool:
    """Whether the name is that of the prior that ships."""
    return model == BUNDLED


def resolve_model(model: str) -> str:
    """Folder or hub id that a name stands for."""
    return str(data_path("load/toyworld/text-to-image")) if is_bundled(model) else model
