"""`rsd toyworld check`: measures of the bundled networks, compared with the values that they need."""

from .drawing import Counts, Labeled
from .rows import CheckRow
from .table import check, format_table, run_check, save_rows

__all__ = ["CheckRow", "Counts", "Labeled", "check", "format_table", "run_check", "save_rows"]
