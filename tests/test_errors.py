"""Messages of `UserError` and the checks that raise it."""

import math
import re
from pathlib import Path

import pytest
from threestudio_rsd.errors import (
    PACKAGES,
    UserError,
    first_line,
    fits_memory,
    in_range,
    one_of,
    positive,
    require,
    shorten,
    valid_text,
)

ROOT = Path(__file__).parents[1]


def test_a_missing_library_raises_with_the_package_to_install() -> None:
    with pytest.raises(UserError, match=r"run `pip install no_such_module`\.$"):
        require("no_such_module")
    with pytest.raises(
        UserError, match=r"run `pip install no_such_module`, or `pip install '\.\[lpips\]'` in a checkout"
    ):
        require("no_such_module", "lpips")
    with pytest.raises(UserError, match=r"^skimage.no_such_module is not installed .*: run `pip install scikit-image`"):
        require("skimage.no_such_module")


@pytest.mark.parametrize("value", [10**400, -(10**400)])
def test_integers_beyond_floats_raise(value: int) -> None:
    with pytest.raises(UserError, match=r"^key=-?10+\.\.\.0+ is impossible"):
        in_range("key", value, 0.0, 1.0)
    with pytest.raises(UserError, match=r"^key=-?10+\.\.\.0+ is impossible"):
        positive("key", value)


def test_memory_that_the_machine_lacks_raises_with_an_estimate() -> None:
    fits_memory("n_particles", 8, 8 * 16384)
    with pytest.raises(
        UserError, match=r"^n_particles=99999999999999 needs at least 1.42 EiB of memory, .* has [\d.e+]+ GiB"
    ):
        fits_memory("n_particles", 99999999999999, 99999999999999 * 16384)


def test_long_values_are_shortened_in_the_middle() -> None:
    assert shorten("short") == "short"
    assert shorten("a" * 50 + "b" * 50, 11) == "aaaa...bbbb"
    with pytest.raises(UserError) as error:
        one_of("features", "x" * 5000, ("dino",))
    assert len(str(error.value)) < 400


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "caf\udce9.png"])
def test_text_that_no_file_can_hold_raises(text: str) -> None:
    valid_text("prompt", "蘑菇 🍄")
    with pytest.raises(UserError, match=r"^prompt='.*' is not valid text; accepted: UTF-8 without NUL"):
        valid_text("prompt", text)


@pytest.mark.parametrize(
    ("extra", "command"),
    [
        ("lpips", "run `pip install no_such_module`, or `pip install '.[lpips]'` in a checkout of threestudio-rsd."),
        (None, "run `pip install no_such_module`."),
    ],
)
def test_a_missing_library_raises_with_the_library_itself_and_the_extra(extra: str | None, command: str) -> None:
    with pytest.raises(UserError, match=r"no_such_module\.part is not installed") as error:
        require("no_such_module.part", extra)
    assert str(error.value).endswith(command)


def test_a_library_that_cannot_be_imported_raises(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_library.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"broken_library is installed but cannot be imported \(libGL"):
        require("broken_library")


def test_every_extra_that_messages_name_installs_the_library() -> None:
    """The calls of `require` against the extras of pyproject.toml."""
    tomllib = pytest.importorskip("tomllib", reason="needs Python 3.11")
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    calls = [
        call
        for file in (ROOT / "custom/threestudio_rsd").rglob("*.py")
        for call in re.findall(r'require\("([\w.]+)", "(\w+)"\)', file.read_text())
    ]
    assert len(calls) > 5
    for module, extra in calls:
        library = module.partition(".")[0]
        package = PACKAGES.get(library, library)
        depends = [re.split("[<>=]", each)[0] for each in extras[extra]]
        depends += ["scipy"] if "scikit-image" in depends else []
        assert package in depends, (module, extra)


def test_accepted_values_pass() -> None:
    one_of("base", "sds", ("sds", "nfsd"))
    positive("lr", 1e-9)
    for value in (0, 0.5, 1):
        in_range("share", value, 0.0, 1.0)
    in_range("n_steps", 10**9, 1)


@pytest.mark.parametrize("value", [0, -1.0, math.nan, math.inf])
def test_numbers_that_are_not_positive_raise(value: float) -> None:
    with pytest.raises(UserError, match=f"^lr={value} is impossible; accepted: a number above 0[.]$"):
        positive("lr", value)


@pytest.mark.parametrize(
    ("value", "limits", "accepted"),
    [
        (0, (1,), "an integer of at least 1"),
        (-0.1, (0.0,), "a number of at least 0"),
        (1.5, (0.0, 1.0), "a number from 0 to 1"),
        (math.nan, (0.0, 1.0), "a number from 0 to 1"),
        (math.inf, (0.0,), "a number of at least 0"),
        (0, (1, None, "null or an integer"), "null or an integer of at least 1"),
    ],
)
def test_numbers_out_of_range_raise(value: float, limits: tuple, accepted: str) -> None:
    with pytest.raises(UserError, match=f"^key={value} is impossible; accepted: {accepted}[.]$"):
        in_range("key", value, *limits)


def test_unknown_choices_raise_with_the_accepted_ones() -> None:
    with pytest.raises(UserError, match=r"^base='vsd' is unknown; accepted: sds, nfsd\.$"):
        one_of("base", "vsd", ("sds", "nfsd"))


def test_the_first_line_of_an_error_ends_without_a_period() -> None:
    assert first_line(OSError("No such file.\nSee the manual.")) == "No such file"
    assert first_line(KeyError()) == "KeyError"
