"""README and documentation: code runs, commands parse, links lead somewhere, reference pages are complete."""

import contextlib
import io
import re
import sys
from pathlib import Path

import pytest

from tests.config_values import check_command

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
if not (DOCS / "index.md").is_file():
    pytest.skip("an sdist has no docs", allow_module_level=True)
sys.path.insert(0, str(DOCS))
import reference_pages  # noqa: E402

PAGES = [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))]
GENERATED = ("reference/configuration.md", "reference/commands.md", "changelog.md")
GPU = "<!-- test: gpu -->"  # marks a block that needs a GPU, or a program that is not installed
BLOCK = re.compile(r"(?:(<!-- test: \w+ -->)\n)?```(\w*)\n(.*?)```", re.DOTALL)
LANGUAGES = {"python", "bash", "text", "bibtex", ""}
MOST_WORDS = 1000  # of the README


def blocks(page: Path, language: str) -> list[str]:
    """Code blocks of a page that tests can run."""
    return [code for mark, found, code in BLOCK.findall(page.read_text()) if found == language and mark != GPU]


def names(pages: list[Path]) -> list[str]:
    return [str(page.relative_to(ROOT)) for page in pages]


WITH_PYTHON = names([page for page in PAGES if blocks(page, "python")])
COMMANDS = [
    line.split("  #")[0].strip()
    for page in PAGES
    for block in blocks(page, "bash")
    for line in block.replace("\\\n", " ").splitlines()
    if line.startswith("rsd ")
]


def run_python(page: str) -> None:
    namespace: dict[str, object] = {}
    with contextlib.redirect_stdout(io.StringIO()):
        for block in blocks(ROOT / page, "python"):
            exec(compile(block, page, "exec"), namespace)


def test_python_of_the_readme_runs() -> None:
    run_python("README.md")


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in WITH_PYTHON if page != "README.md"])
def test_python_of_the_pages_runs(page: str) -> None:
    run_python(page)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_commands_parse(command: str, capsys) -> None:
    check_command(command, capsys)


@pytest.mark.parametrize("page", names(PAGES))
def test_links_lead_to_files(page: str) -> None:
    text = (ROOT / page).read_text()
    assert {language for _, language, _ in BLOCK.findall(text)} <= LANGUAGES
    folder = (ROOT / page).parent
    links = [link.partition("#")[0] for link in re.findall(r"\]\(([^)]+)\)", text) if "://" not in link]
    missing = [link for link in links if link and not (folder / link).exists()]
    assert not [link for link in missing if not link.endswith(tuple(Path(name).name for name in GENERATED))]


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= MOST_WORDS


def test_every_key_has_a_meaning() -> None:
    page = reference_pages.configuration_page()
    assert re.findall(r"^\| `.+\|  \|$", page, re.MULTILINE) == []
    assert "| `gamma` | `0.0` | repulsion weight;" in page
    assert "| `n_particles` | `4` | N particles of each image; D.2 |" in page


def test_every_command_is_described() -> None:
    page = reference_pages.commands_page()
    named = re.findall(r"^## rsd (\w[\w -]*)$", page, re.MULTILINE)
    assert named == list(reference_pages.COMMANDS)
    listed = re.findall(r"^    (\w[\w-]*)(?: |$)", page.split("## rsd launch")[0], re.MULTILINE)
    assert set(listed) == {command.split()[0] for command in reference_pages.COMMANDS}
