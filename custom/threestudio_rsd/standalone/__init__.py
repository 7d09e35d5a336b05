"""Stand-in for threestudio: runs the configs of this package, and those like them, where threestudio is not installed.

The folders mirror threestudio's own, with the same file, class and registered names, written from scratch in plain
PyTorch:

    data/     random cameras (`threestudio/data/uncond.py`)
    models/   geometry, materials, background, renderers, networks, prompt processors and mesh export
    systems/  base classes of systems, optimizers and schedulers
    utils/    config, registry, saving, messages, `C`
    engine/   what threestudio's launch.py does: checks, training, checkpoints, progress

`threestudio_rsd.host` offers the names that extensions import, from threestudio or from here.
"""
