"""threestudio's own DreamFusion for the stand-in, under threestudio's names, so that its configs run unchanged.

A real threestudio has these names itself; then nothing is registered here.
"""

from ...host import HOST

if HOST == "embedded":
    from . import guidance, prompt_processors, system  # noqa: F401
