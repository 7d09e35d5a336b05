"""`python -m threestudio_rsd.runs.checking`: whether runs could start, asked in a process of its own.

What it loads to find out, such as a prior on the GPU, is gone when it ends.
"""

import json
import subprocess
import sys
from collections.abc import Sequence

from ..errors import UserError
from .launching import register_modules

SEPARATOR = "\0"  # before the sentence, which follows whatever libraries print


def check_runs(config: str, runs: Sequence[Sequence[str]]) -> None:
    """Build each run as `rsd launch` does, but start and write nothing.

    Args:
        config: YAML file.
        runs: overrides of each run.

    Raises:
        UserError: what one of them would raise.
    """
    process = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps({"config": config, "runs": [list(overrides) for overrides in runs]}),
        capture_output=True,
        text=True,
    )
    if process.returncode:
        sentence = process.stderr.rpartition(SEPARATOR)[2].strip()
        raise UserError(sentence if SEPARATOR in process.stderr else sentence.splitlines()[-1])


def main() -> int:
    """The process: reads what to check from its standard input."""
    from ..standalone.engine.launch import prepare
    from ..standalone.utils.messages import set_up_messages

    asked = json.load(sys.stdin)
    set_up_messages(verbose=False)
    register_modules()
    try:
        for overrides in asked["runs"]:
            prepare(asked["config"], "train", overrides)
    except UserError as error:
        print(f"{SEPARATOR}{error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
