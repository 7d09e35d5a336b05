"""Registers the modules of threestudio-rsd where a clone of this repository lies in threestudio's custom/ folder.

threestudio's launch.py imports each folder in custom/. The package itself is custom/threestudio_rsd in this repository.
"""

import sys
from pathlib import Path

if "threestudio" in sys.modules:
    sys.path.insert(0, str(Path(__file__).parent / "custom"))
    import threestudio_rsd  # noqa: F401 registers the modules
