"""Download the wheels that the GPU machine lacks. Needs a network.

    python -m benchmarks.gpu_check.pack --output outputs/gpu_wheels

The defaults suit a machine with PyTorch, transformers, peft and Lightning (the packages that this repository needs
beyond them). For a machine with PyTorch alone add `--with transformers tokenizers peft accelerate safetensors regex
pytorch-lightning lightning-utilities torchmetrics huggingface-hub ...`.
"""

import argparse
import subprocess
import sys
from pathlib import Path

PACKAGES = ("diffusers", "omegaconf", "importlib-metadata", "zipp")
LIMIT = 60 * 2**20  # bytes
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64", "manylinux1_x86_64")


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("outputs/gpu_wheels"), help="folder of the wheels")
    parser.add_argument("--python", default="3.12", help="version of Python on the GPU machine")
    parser.add_argument("--with", nargs="+", default=[], dest="further", metavar="PACKAGE", help="further packages")
    args = parser.parse_args(argv)
    args.output.mkdir(parents=True, exist_ok=True)
    for old in args.output.glob("*.whl"):
        old.unlink()
    platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
    options = ["--quiet", "--no-deps", "--only-binary=:all:", "--python-version", args.python, *platforms]
    packages = [*map(with_version, PACKAGES), *args.further]
    subprocess.run([sys.executable, "-m", "pip", "download", *options, "-d", str(args.output), *packages], check=True)
    return check_size(args.output)


def with_version(package: str) -> str:
    """Requirement of the version that is installed here, which the tests passed with."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"{package}=={version(package)}"
    except PackageNotFoundError:
        return package


def check_size(folder: Path) -> int:
    """Print the wheels and their size; 1 if they exceed the limit."""
    sizes = {file.name: file.stat().st_size for file in sorted(folder.glob("*.whl"))}
    for name, size in sizes.items():
        print(f"{size / 2**20:6.1f} MiB  {name}")
    total = sum(sizes.values())
    print(f"{total / 2**20:6.1f} MiB of at most {LIMIT / 2**20:.0f}")
    return int(total > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
