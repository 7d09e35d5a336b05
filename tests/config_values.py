"""Values of dotted keys: of a config, else the default of the class that reads it."""

import importlib
from pathlib import Path
from typing import Any

import yaml
from threestudio_rsd.extension.systems.base_2d import ImageParticlesConfig
from threestudio_rsd.host import find
from threestudio_rsd.inverse import SolverConfig
from threestudio_rsd.inverse.operators import OperatorConfig

for package in ("prompt_processor", "guidance", "data", "systems"):  # register what configs name
    importlib.import_module(f"threestudio_rsd.extension.{package}")


def value(config: Path, key: str) -> Any:
    """Value of a dotted key in a config, else the default of the class that reads it; KeyError for an unknown key."""
    content = yaml.safe_load(config.read_text())
    try:
        node = content
        for part in key.split("."):
            node = node[part]
        return node
    except (KeyError, TypeError):
        pass
    section, _, name = key.rpartition(".")
    system = content["system"]
    classes = {
        "data.operator": OperatorConfig,
        "system.particles": ImageParticlesConfig,
        "system.solver": SolverConfig,
        "system": find(content["system_type"]).Config,
        "system.guidance": find(system.get("guidance_type", "repulsive-sds-guidance")).Config,
        "system.prompt_processor": find("rsd-prompt-processor").Config,
    }
    defaults = classes[section]()
    if not hasattr(defaults, name):
        raise KeyError(key)
    return getattr(defaults, name)
