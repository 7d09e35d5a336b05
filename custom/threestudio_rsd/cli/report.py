"""`rsd report FOLDER`: one self-contained page of a run, a sweep or a reproduction."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from ..errors import UserError
from ..folders import make_folder
from ..report.html import write_whole
from ..report.page import render_report
from ..report.readers import ACCEPTED, read_study

PAGE = "report.html"


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page of a folder.

    Raises:
        UserError: nothing in the folder can be reported, or the page cannot be written where it should.
    """
    args = _parser().parse_args(list(argv or []))
    print(write_report(args.folder, args.output))
    return 0


def write_report(folder: Path, output: Path | None = None) -> str:
    """Write the page of a run, a sweep or a reproduction.

    Args:
        folder: see ACCEPTED.
        output: HTML file; None: report.html in the folder.

    Returns:
        Lines for a terminal: what is in the page, and where it lies.

    Raises:
        UserError: nothing in the folder can be reported, or the page cannot be written where it should.
    """
    study = read_study(folder)
    output = output or folder / PAGE
    if output.is_dir():
        raise UserError(f"--output={str(output)!r} is a folder; accepted: a file, such as report.html.")
    make_folder(output.parent)
    text = render_report(study)
    write_whole(output, text)
    cases = sum(len(arm.cases) for arm in study.arms)
    missing = f", {len(study.missing)} missing" if study.missing else ""
    size = len(text.encode()) / 1e6
    return f"{len(study.arms)} settings, {cases} results{missing}\nPage: {output} ({size:.1f} MB)"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="rsd report",
        description="One HTML page that needs no network: images side by side, trade-offs, numbers, curves, configs.",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help=ACCEPTED.removeprefix("accepted: "))
    parser.add_argument("--output", type=Path, metavar="FILE", help=f"default: FOLDER/{PAGE}")
    return parser
