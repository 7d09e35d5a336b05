"""threestudio's own DreamFusion for the stand-in, under threestudio's names, so that its configs run unchanged.

Inside a real threestudio, which registers these names itself, nothing is registered here.
"""

from ...host import HOST

if HOST == "embedded":
    from . import guidance, prompt_processors, system  # noqa: F401
