"""`rsd bench`: cost of a step with and without repulsion."""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from .options import CommandParser, Parsers, add_command, add_option, new_file, positive_int

PARTS = ("flops", "time", "memory", "scenes")
FEW, MANY = 4, 64  # particles whose peak memory is compared
SIZE = 32  # height and width of the renders of a 3D step, pixels


def add_parser(commands: Parsers) -> None:
    """Add `rsd bench`."""
    add_command(
        commands,
        "bench",
        run,
        _add_arguments,
        "Measure the cost of repulsion: operations at the sizes of Stable Diffusion, time and memory on this machine.",
        "Times are medians of ratios from rounds in which the variants take turns. Nothing is checked.",
    )


def run(args: argparse.Namespace) -> int:
    """Print the tables of the chosen parts."""
    import torch

    torch.set_num_threads(args.threads)
    tables: dict[str, Callable[[argparse.Namespace], list[Any]]] = {
        "flops": _flops,
        "time": _times,
        "memory": _memory,
        "scenes": _scenes,
    }
    record = {part: [asdict(row) for row in tables[part](args)] for part in args.parts}
    if args.output is not None:
        from ..files import write_json

        write_json(args.output, record)
    return 0


def _add_arguments(parser: CommandParser) -> None:
    parser.add_argument(
        "--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART", help=f"of {', '.join(PARTS)}"
    )
    add_option(parser, "--n-particles", 8, "number of particles of the timed steps")
    parser.add_argument("--rounds", type=positive_int, default=5, metavar="N", help="timings of each variant")
    parser.add_argument("--threads", type=positive_int, default=1, metavar="N", help="CPU threads of torch")
    parser.add_argument("--output", type=new_file, metavar="FILE", help="JSON file of the numbers")


def _flops(args: argparse.Namespace) -> list[Any]:
    from ..costs import count_flops

    rows = count_flops()
    cells = [
        [f"{row.name}, {label}", f"{value / 1e12:.2f}", f"{value / row.without:.2f}"]
        for row in rows
        for label, value in {"no repulsion": row.without, **row.options}.items()
    ]
    _print("Operations of a step for each particle, Stable Diffusion 2.1 (inverse: 1.5)", ["TFLOP", "ratio"], cells)
    return rows


def _times(args: argparse.Namespace) -> list[Any]:
    from ..costs import step_times

    rows = step_times(args.n_particles, args.rounds)
    cells = [[row.name, f"{row.seconds:.3f}", *(f"{ratio:.2f}" for ratio in row.ratios.values())] for row in rows]
    title = f"Seconds of a step on the bundled prior, N = {args.n_particles}, and ratio with repulsion"
    _print(title, ["no repulsion", *rows[0].ratios], cells)
    return rows


def _memory(args: argparse.Namespace) -> list[Any]:
    from ..costs import force_memory

    rows = force_memory(FEW, MANY, args.rounds)
    cells = [
        [
            row.name,
            *(f"{value / 1e6:.0f}" for value in (row.small, row.large)),
            *(f"{value:.2f}" for value in (row.large / row.small, row.seconds_ratio)),
        ]
        for row in rows
    ]
    title = f"Peak memory of the force on the bundled prior, MB, and time of N = {MANY} relative to all at once"
    _print(title, [f"N = {FEW}", f"N = {MANY}", "ratio", "time"], cells)
    return rows


def _scenes(args: argparse.Namespace) -> list[Any]:
    from ..costs.scene_memory import scene_memory

    rows = scene_memory(FEW, MANY, SIZE, args.rounds)
    cells = [
        [
            row.name,
            *(f"{value / 1e6:.0f}" for value in (row.small, row.large)),
            *(f"{value:.2f}" for value in (row.large / row.small, row.seconds_ratio)),
        ]
        for row in rows
    ]
    title = f"Peak memory of a 3D step with N NeRFs at {SIZE} pixels on the bundled prior, MB, and time"
    _print(title, [f"N = {FEW}", f"N = {MANY}", "ratio", "time"], cells)
    return rows


def _print(title: str, headings: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    from ..text_tables import format_table

    print(f"{title}\n{format_table(['', *headings], cells)}\n", flush=True)
