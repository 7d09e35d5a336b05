"""Pages that MkDocs generates from the code: configuration keys from the dataclasses, commands from the parser."""

import ast
import contextlib
import importlib
import inspect
import io
import os
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
MODULES = ("guidance", "systems", "data", "ensembles", "prompt_processor")  # of threestudio_rsd.extension
OTHER_CONFIGS = {  # dotted key: class, for those that no registered module has as `Config`
    "particle-camera-datamodule": "threestudio_rsd.extension.data.particle_cameras.ParticleCameraConfig",
    "system.solver": "threestudio_rsd.inverse.SolverConfig",
    "data.operator": "threestudio_rsd.inverse.operators.OperatorConfig",
}
COMMANDS = (
    *("launch", "demo", "demo 3d", "demo inverse", "evaluate", "sweep", "report", "reproduce", "app", "bench", "toy"),
    *("toyworld", "toyworld render", "toyworld check", "toyworld train"),
)
HELP_WIDTH = "100"  # columns


def on_files(files: Any, config: Any) -> Any:
    """MkDocs hook: adds the generated pages, and the changelog."""
    from mkdocs.structure.files import File

    pages = {
        "reference/configuration.md": configuration_page(),
        "reference/commands.md": commands_page(),
        "changelog.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
    for name, content in pages.items():
        files.append(File.generated(config, name, content=content))
    return files


def configuration_page() -> str:
    """Markdown of all keys of the registered modules, of solvers and of operators, with defaults and comments."""
    parts = [
        "# Configuration",
        "Keys of the modules that this package registers in threestudio, from their dataclasses. `null` means None, "
        "`???` a key without default. Keys of the modules of threestudio itself are those of threestudio.",
    ]
    for name, module in sorted(registered_modules().items()):
        config = _find(OTHER_CONFIGS[name]) if name in OTHER_CONFIGS else module.Config
        parts += [f"## {name}", _first_line(module), _key_table(config)]
    for key in ("system.solver", "data.operator"):
        config = _find(OTHER_CONFIGS[key])
        parts += [f"## {key}", _first_line(config), _key_table(config)]
    return "\n\n".join(parts) + "\n"


def registered_modules() -> dict[str, Any]:
    """Classes that this package registers in threestudio, by their registered name."""
    found = {}
    for name in MODULES:
        package = importlib.import_module(f"threestudio_rsd.extension.{name}")
        folder = Path(str(package.__file__))
        files = folder.parent.glob("*.py") if folder.name == "__init__.py" else [folder]
        for file in sorted(files):
            found.update(_registered_in(file, package.__name__ if file.name == folder.name else None))
    return found


def _registered_in(file: Path, module_name: str | None) -> dict[str, Any]:
    relative = file.relative_to(ROOT / "custom").with_suffix("")
    module = importlib.import_module(module_name or ".".join(relative.parts))
    found = {}
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ClassDef):
            for decorator in node.decorator_list:
                if isinstance(decorator, ast.Call) and getattr(decorator.func, "id", "") == "register":
                    found[ast.literal_eval(decorator.args[0])] = getattr(module, node.name)
    return found


def _key_table(config: Any) -> str:
    rows = ["| key | default | meaning |", "|---|---|---|"]
    for field in fields(config):
        meaning = field_comments(config).get(field.name, "")
        rows.append(f"| `{field.name}` | `{_default(field)}` | {_cell(meaning)} |")
    return "\n".join(rows) if len(rows) > 2 else "No keys."


def _default(field: Any) -> str:
    if field.default_factory is not MISSING:
        value = field.default_factory()
        return "..." if is_dataclass(value) else _yaml(value)
    return "???" if field.default is MISSING else _yaml(field.default)


def _yaml(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return '""' if value == "" else str(value).replace("|", "\\|")


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


@cache
def field_comments(config: Any) -> dict[str, str]:
    """Comment of each field of a dataclass: that of its line, else the one above it; of base classes as well.

    Args:
        config: a dataclass.
    """
    comments: dict[str, str] = {}
    for base in reversed(config.__mro__):
        if base is not object and "__annotations__" in vars(base):
            comments.update(_own_comments(base))
    return comments


def _own_comments(config: type) -> dict[str, str]:
    try:
        lines, _ = inspect.getsourcelines(config)
    except (OSError, TypeError):
        return {}
    node = ast.parse(textwrap.dedent("".join(lines))).body[0]
    assert isinstance(node, ast.ClassDef)
    described = _attributes_section(inspect.getdoc(config) or "")
    for each in node.body:
        if isinstance(each, ast.AnnAssign) and isinstance(each.target, ast.Name):
            _, hash_sign, comment = lines[each.end_lineno - 1].partition("  # ")
            text = comment.strip() if hash_sign else _comment_above(lines, each.lineno - 1)
            described[each.target.id] = text or described.get(each.target.id, "")
    return described


def _comment_above(lines: list[str], line: int) -> str:
    above = []
    while line > 0 and lines[line - 1].strip().startswith("#"):
        line -= 1
        above.append(lines[line].strip().removeprefix("#").strip())
    return " ".join(reversed(above))


def _attributes_section(docstring: str) -> dict[str, str]:
    """Descriptions of a docstring's section "Attributes" (Google style)."""
    _, _, section = docstring.partition("Attributes:\n")
    found: dict[str, str] = {}
    name = ""
    for line in section.split("\n\n")[0].splitlines():
        head, colon, rest = line.strip().partition(": ")
        if colon and head.isidentifier() and line.startswith("    ") and not line.startswith("     "):
            name, found[head] = head, rest
        elif name:
            found[name] += " " + line.strip()
    return found


def _first_line(described: Any) -> str:
    return (inspect.getdoc(described) or "").split("\n\n")[0].replace("\n", " ")


def _find(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def commands_page() -> str:
    """Markdown with the help of every command."""
    parts = ["# Commands", "Output of `rsd COMMAND --help`."]
    for command in ("", *COMMANDS):
        parts += [f"## rsd {command}".rstrip(), f"```text\n{_help(command)}```"]
    return "\n\n".join(parts) + "\n"


def _help(command: str) -> str:
    from threestudio_rsd.cli.main import main

    shown = io.StringIO()
    with _columns(HELP_WIDTH), contextlib.redirect_stdout(shown), contextlib.suppress(SystemExit):
        main([*command.split(), "--help"])
    return shown.getvalue()


@contextlib.contextmanager
def _columns(width: str) -> Iterator[None]:
    """Width of the terminal, for argparse."""
    former = os.environ.get("COLUMNS")
    os.environ["COLUMNS"] = width
    try:
        yield
    finally:
        if former is None:
            del os.environ["COLUMNS"]
        else:
            os.environ["COLUMNS"] = former
