"""One HTML page of any run, sweep, reproduction or demo."""

from .page import PAGE, write_report
from .readers import ACCEPTED, read_study
from .study import Study

__all__ = ["ACCEPTED", "PAGE", "Study", "read_study", "write_report"]
