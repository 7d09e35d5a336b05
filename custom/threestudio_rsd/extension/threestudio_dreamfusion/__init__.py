"""threestudio's DreamFusion on the embedded host, under the same names, so that threestudio's configs run unchanged.

Inside a real threestudio, which registers these names itself, nothing is registered here.
"""

from ...host import HOST

if HOST == "embedded":
    from . import guidance, prompt_processors, system  # noqa: F401
