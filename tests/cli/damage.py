"""Damage to result folders: files that are cut, overwritten, replaced by folders or whose values have other types."""

import json
import shutil
from pathlib import Path
from typing import Any

from hypothesis import strategies as st
from threestudio_rsd.runs.run import Run

from ..report.report_folders import PROMPTS, add_answers, make_reproduction, make_sweep, make_table, make_trial

ODD = [None, True, 0, -1, 1.5, 10**30, float("nan"), float("inf"), "", "x", "\ud800", [], [1], [[]], {}, {"a": 1}]
TEXTS = [
    b"",
    b"{",
    b"[]",
    b"null",
    b"3",
    b'"x"',
    b"\xff\xfe\x00",
    b"\0" * 9,
    b"[" * 5000,
    b'{"a": ' * 3000,
    b"a: [",
    b"\x89PNG",
]
DIGITS = b'{"n_particles": ' + b"9" * 5000 + b"}"


def make_sweep_of_runs(folder: Path) -> Path:
    """A sweep whose runs have the folders that the command itself gives them."""
    make_sweep(folder)
    record = json.loads((folder / "sweep.json").read_text())
    for run in record["runs"]:
        tag = Run("configs/text2image/sds.yaml", run["settings"], folder).tag
        (folder / run["folder"]).rename(folder / "runs" / tag)
        run |= {"tag": tag, "folder": f"runs/{tag}"}
    (folder / "sweep.json").write_text(json.dumps(record))
    return folder


def make_folders(folder: Path) -> None:
    """One result folder of each kind: sweep, reproduction, table, trial, answers, images."""
    for name, make in (("sweep", make_sweep_of_runs), ("reproduction/fig3", make_reproduction), ("table", make_table)):
        (folder / name).mkdir(parents=True)
        make(folder / name)
    (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    for name in ("trial", "answers"):
        make_trial(folder / name, 10)
    add_answers(folder / "answers", 40)
    shutil.copytree(folder / "answers" / "save" / "test" / "a car", folder / "images")
    (folder / "images" / "prompts.txt").write_text("a mushroom\n")
    for index in range(2):
        target = folder / "trial" / "save" / "test" / f"particle_{index:02d}.png"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(folder / "images" / "truth.png", target)


@st.composite
def damages(draw: st.DrawFn, folder: Path) -> tuple[str, list[str], str]:
    """A command that reads a folder, and damage that is done to it: command, files and kind of damage."""
    name = draw(st.sampled_from(["sweep", "reproduction/fig3", "table", "trial", "answers", "images"]))
    files = sorted(str(each.relative_to(folder)) for each in (folder / name).rglob("*") if each.is_file())
    texts = [each for each in files if not each.endswith(".png")]
    chosen = draw(st.lists(st.one_of(st.sampled_from(texts or files), st.sampled_from(files)), min_size=1, max_size=2))
    return (
        name,
        chosen,
        draw(st.sampled_from(["cut", "replace", "remove", "folder", "bytes", *["value"] * 3])),
    )


def damage(file: Path, kind: str, draw: Any) -> None:
    """Damage a file."""
    content = file.read_bytes()
    if kind == "cut":
        file.write_bytes(content[: draw(st.integers(0, max(0, len(content) - 1)))])
    elif kind == "replace":
        file.write_bytes(draw(st.sampled_from([*TEXTS, DIGITS])))
    elif kind == "remove":
        file.unlink()
    elif kind == "folder":
        file.unlink()
        file.mkdir()
    elif kind == "bytes" or file.suffix not in (".json", ".yaml", ".csv"):
        place = draw(st.integers(0, max(0, len(content) - 1)))
        file.write_bytes(content[:place] + draw(st.binary(min_size=1, max_size=4)) + content[place + 1 :])
    elif file.suffix == ".json":
        file.write_text(json.dumps(_changed(json.loads(content), draw)))
    else:
        words = content.decode().split(" " if file.suffix == ".yaml" else ",")
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(["x", "", "[1]", "{a: 1}", "1e999", "null"]))
        file.write_text((" " if file.suffix == ".yaml" else ",").join(words))


def _changed(value: Any, draw: Any) -> Any:
    """JSON value with one odd entry, or without one of its entries."""
    if isinstance(value, dict) and value and draw(st.integers(0, 4)):
        key = draw(st.sampled_from(sorted(value)))
        if draw(st.integers(0, 5)) == 0:
            return {name: each for name, each in value.items() if name != key}
        return {**value, key: _changed(value[key], draw)}
    if isinstance(value, list) and value and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(value) - 1))
        return [_changed(each, draw) if place == index else each for place, each in enumerate(value)]
    return draw(st.sampled_from(ODD))
