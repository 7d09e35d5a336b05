"""Values of dotted keys, of a config or else the default of the class that reads it; command lines that use them."""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml
from threestudio_rsd.cli import main as cli
from threestudio_rsd.extension.systems.base_2d import ImageParticlesConfig
from threestudio_rsd.host import find
from threestudio_rsd.inverse import SolverConfig
from threestudio_rsd.inverse.operators import OperatorConfig
from threestudio_rsd.runs.launching import find_config

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


def check_command(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Check that `rsd` knows the options of a command line, and its config the keys that it overrides."""
    _, *arguments = shlex.split(command)
    with pytest.raises(SystemExit) as stopped:
        cli.main([*arguments, "--help"])
    assert stopped.value.code == 0
    understood = capsys.readouterr().out
    assert all(argument in understood for argument in arguments if argument.startswith("--"))
    if "--config" in arguments:
        config = Path(find_config(arguments[arguments.index("--config") + 1]))
        for key in re.findall(r"^([\w.]+)=", "\n".join(arguments), re.MULTILINE):
            value(config, key)
