"""Command line of the GPU check."""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("diffusers", "omegaconf", "peft", "pytorch_lightning", "transformers")
MINUTES = 7.5


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "gpu_check", help="folder of the results")
    parser.add_argument("--wheels", type=Path, default=ROOT / "outputs" / "gpu_wheels", help="folder of packed wheels")
    parser.add_argument("--minutes", type=float, default=MINUTES, help="time after which no further row starts")
    parser.add_argument("--sections", nargs="+", help="sections to run, in this order; all by default")
    parser.add_argument("--device", default="cuda", help="device to check; cpu only with --tiny")
    parser.add_argument("--tiny", action="store_true", help="tiny shapes and few steps: a test of this program itself")
    args = parser.parse_args(argv)
    sys.path.insert(0, str(ROOT / "custom"))
    install_missing(args.wheels, Path(tempfile.mkdtemp(prefix="gpu_check_packages_")))
    from .check import Settings, run

    return run(Settings(args.output, args.device, args.tiny, 60 * args.minutes), args.sections)


def install_missing(wheels: Path, target: Path) -> None:
    """Install the packed wheels if a needed package is missing; without a network and without dependencies."""
    missing = [name for name in NEEDED if not _is_there(name)]
    if not missing:
        return
    files = sorted(map(str, wheels.glob("*.whl")))
    if not files:
        sys.exit(f"{', '.join(missing)} missing and no wheels in {wheels}; make them with benchmarks.gpu_check.pack")
    options = ["--quiet", "--no-index", "--no-deps", "--no-compile", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", "install", *options, *files], check=True)
    sys.path.insert(0, str(target))


def _is_there(name: str) -> bool:
    from importlib.util import find_spec

    return find_spec(name) is not None


if __name__ == "__main__":
    sys.exit(main())
