"""`rsd report FOLDER`: one self-contained page of a run, a sweep or a reproduction."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..report.page import PAGE, write_report
from ..report.readers import ACCEPTED


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page of a folder.

    Raises:
        UserError: nothing in the folder can be reported, or the page cannot be written where it should.
    """
    args = _parser().parse_args(list(argv or []))
    print(write_report(args.folder, args.output))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rsd report",
        description="One HTML page that needs no network: images side by side, trade-offs, numbers, curves, configs.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=ACCEPTED.removeprefix("accepted: "))
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: FOLDER/{PAGE}")
    return parser
