"""Checks that runs can start, in a process of its own: `python -m threestudio_rsd.runs.checking`.

The process frees what it loads for the check, such as a prior on the GPU, when it ends.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Sequence

from ..errors import UserError
from ..signals import end_with_parent
from .launching import register_modules

SEPARATOR = "\0"  # precedes the error on stderr, to which libraries print too


def check_runs(config: str, runs: Sequence[Sequence[str]]) -> None:
    """Build each run as `rsd launch` does, without starting it or writing anything.

    Args:
        config: YAML file.
        runs: overrides of each run.

    Raises:
        UserError: one of the runs cannot be built; the error is the run's own.
    """
    process = subprocess.run(
        [sys.executable, "-m", __name__],
        input=json.dumps({"config": config, "runs": [list(overrides) for overrides in runs]}),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=end_with_parent(signal.SIGKILL),
    )
    if process.returncode:
        sentence = process.stderr.rpartition(SEPARATOR)[2].strip()
        raise UserError(sentence if SEPARATOR in process.stderr else sentence.splitlines()[-1])


def main() -> int:
    """The process; reads the config and the overrides as JSON from its standard input."""
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
