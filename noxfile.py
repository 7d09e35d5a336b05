"""The default tests with the oldest and with the newest supported versions of the libraries: `make test-versions`.

    nox -s oldest                              threestudio 0.2.3's pins, see .ci/oldest.txt
    nox -s newest                              the newest releases, also of PyTorch
    nox -s newest -- -n 2 tests/priors         with arguments of pytest

`oldest` needs Python 3.10 or 3.11: later ones have no PyTorch 2.0.
"""

import nox

nox.options.default_venv_backend = "venv"
SHOWN = "torch, pytorch_lightning, diffusers, transformers, peft, omegaconf, numpy"


@nox.session(python="3.11")
def oldest(session: nox.Session) -> None:
    """The versions that threestudio 0.2.3 pins, with releases of their time."""
    session.install("--constraint", ".ci/oldest.txt", "--editable", ".[libraries,test]")
    run_tests(session)


@nox.session
def newest(session: nox.Session) -> None:
    """The newest release of every library."""
    session.install("--upgrade", "--upgrade-strategy", "eager", "--editable", ".[libraries,test]")
    run_tests(session)


def run_tests(session: nox.Session) -> None:
    """Print the versions, then run the default tests."""
    session.run(
        "python", "-W", "ignore", "-c", f"import {SHOWN}\nfor each in {SHOWN}: print(each.__name__, each.__version__)"
    )
    session.run("python", "-m", "pytest", *(session.posargs or ["-n", "2"]))
