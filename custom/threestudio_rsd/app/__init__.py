"""Browser app of `rsd app`: forms that start `rsd launch` and show its particles while they are optimized."""

from .commands import AnswersForm, ImagesForm, ObjectsForm, launch_command
from .following import LiveRun, Progress

__all__ = ["AnswersForm", "ImagesForm", "LiveRun", "ObjectsForm", "Progress", "launch_command"]
