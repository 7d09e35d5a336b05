"""`python -m threestudio_rsd.cli`: the command `rsd`."""

import sys

from .main import main

sys.exit(main())
