"""Repulsive Score Distillation: from one prompt to N different images or 3D objects.

| folders | content |
|---|---|
| `distillation`, `repulsion`, `priors` | the method in plain PyTorch: base methods, repulsive force, diffusion models |
| `inverse` | solvers of inverse problems, in plain PyTorch |
| `metrics`, `images`, `particles`, `toyworld` | metrics, image files, particles, the bundled world and its models |
| `extension` | everything that is registered in threestudio |
| `host`, `standalone` | choice between threestudio and the stand-in, and the stand-in |
| `runs`, `evaluation`, `reproduce`, `report`, `cli` | the `rsd` command, and experiments of many runs |

If threestudio imports this package from its custom/ folder, the import registers the modules of `extension`.
"""

import sys

__version__ = "0.2.0"
__all__ = ["__version__"]

if "threestudio" in sys.modules:  # threestudio's launch.py imports the folders of custom/ to register their modules
    from .extension import data, ensembles, guidance, prompt_processor, systems  # noqa: F401 registers them
