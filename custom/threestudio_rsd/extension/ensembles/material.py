"""`particles-material`: N materials of any registered type."""

from ...host import register
from .base import CountedEnsemble


@register("particles-material")
class ParticlesMaterial(CountedEnsemble):
    """The colors of the particles, used by `particles-renderer` and `particles-exporter`."""

    kind = "material"
