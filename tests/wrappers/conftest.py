"""The wrappers and the stand-ins that they hold here, registered once."""

import threestudio_rsd.stock
import threestudio_rsd.wrappers  # noqa: F401

from . import splatting_stand_in, stand_ins  # noqa: F401
