"""Griffe extension: a docstring's section "Example" is read as "Examples", the name that Griffe shows as code."""

from typing import Any

import griffe


class DocstringExamples(griffe.Extension):
    """Renames the sections "Example" of all docstrings."""

    def on_object(self, *, obj: Any, **options: Any) -> None:
        """Griffe calls this for each object that it has read."""
        if obj.docstring is not None:
            obj.docstring.value = obj.docstring.value.replace("Example:\n", "Examples:\n")
