"""`rsd reproduce NAME`: a table of the paper on the bundled prior."""

from collections.abc import Sequence

from ..errors import UserError
from . import inverse_comparison

USAGE = """usage: rsd reproduce NAME [--images N] [--n N] [--steps N] [--seed N] [--output FOLDER]

tables of the paper:
{names}

`rsd reproduce NAME --help` says more."""


def main(argv: Sequence[str] | None = None) -> int:
    """Reproduce a table.

    Raises:
        UserError: an unknown name or an impossible argument.
    """
    argv = list(argv or [])
    name = argv[0] if argv else "--help"
    comparisons = inverse_comparison.COMPARISONS
    if name in ("-h", "--help", "--list"):
        print(USAGE.format(names="\n".join(f"  {key:<8} {value.title}" for key, value in comparisons.items())))
        return 0
    if name not in comparisons:
        raise UserError(f"{name!r} cannot be reproduced yet; accepted: {', '.join(comparisons)}.")
    return inverse_comparison.run(name, argv[1:])
