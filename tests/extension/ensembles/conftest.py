"""Registers the ensembles, and the stand-ins that the tests build them of."""

import threestudio_rsd.extension.ensembles  # noqa: F401

from . import splatting_stand_in, stand_ins  # noqa: F401
