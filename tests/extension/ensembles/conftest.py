"""The wrappers and the stand-ins that they hold here, registered once."""

import threestudio_rsd.extension.ensembles  # noqa: F401

from . import splatting_stand_in, stand_ins  # noqa: F401
