"""Random command lines: strategies for the arguments of every command, and a harness that stops before the work.

A command line runs in this process, through the real `main`, up to the first step of training or the first network that
measures. What would take long is replaced: Lightning's loops, the simulations and renderings, and the loading of the
bundled prior, whose parts are loaded once.
"""

import argparse
import contextlib
import copy
import functools
import io
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
from hypothesis import strategies as st
from omegaconf import OmegaConf
from pytorch_lightning.callbacks import ModelCheckpoint
from threestudio_rsd.cli.main import build_parser, main

SECONDS = 10  # of computation for one command line, after which it counts as hanging
WAITING = 300  # seconds, on a machine that may be busy
LONG = "x" * 5000
DIGITS = "9" * 5000

NUMBERS = [
    "0", "-1", "1", "2", "0.5", "-0.0", "1e308", "1e309", "-1e309", "nan", ".nan", ".inf", "-.inf", "1e-320",
    "99999999999999", "-99999999999999", "1" * 19, DIGITS, "-" + DIGITS, "0." + DIGITS, "1e5000", "0x10", "010", "1_0",
    "True", "1+1j", "½", "٣", "1,2", "1:30",
]  # fmt: skip
TEXTS = [
    "", " ", "null", "~", "???", "true", "[]", "{}", "[1,2]", "[0,0,20,300]", "[[[[]]]]", "{a: 1}", "{a: {b: [1]}}",
    "implicit-volume", "repulsive-sds-guidance", "particle-image-system", "stable-diffusion-guidance",
    "[", "{", '"', "'", '""', "a: b", "a: b: c", "- x", "&a [*a]", "*a", "!!python/name:os.system", "!!int x", "%", "@",
    "${", "${}", "${oc.env:HOME}", "${seed}", "${system}", "${nothing.there}", "${div:1,0}", "${.a}", "\\${seed}",
    LONG, "é蘑菇🍄", "\u202e", "\ud800", "caf\udce9", "a\0b", "\n", "a\nb", "\x1b[31m", "%s%n", "../../..", "--", "-x",
    "=", "a=b", "<b>&", "2024-01-01", "1.2.3", "Adam", "dino", "bundled", "bundled-pixel", "random",
]  # fmt: skip
PATHS = [
    "file.txt", "folder", "missing", "missing/deep/er", "closed", "closed/x", "file.txt/x", "/proc/self/mem",
    "/dev/null", "/", ".", "~", "~/nothing", "~nobody-here/x", "broken.png", "broken.yaml", "broken.json", "link",
    "image.png",
    "a/" * 2000, LONG, "x" * 255, "bytes\udcff", "config.yaml", "list.yaml", "a\0b", "", "run", "sweep", "toy",
]  # fmt: skip


def values() -> st.SearchStrategy[str]:
    """Values of options and config keys."""
    return st.one_of(
        st.sampled_from(NUMBERS),
        st.sampled_from(TEXTS),
        st.sampled_from(PATHS),
        st.text(max_size=12),
        st.integers().map(str),
        st.floats().map(str),
        st.lists(st.sampled_from(NUMBERS + TEXTS), max_size=3).map(lambda each: f"[{','.join(each)}]"),
    )


CONFIGS = [
    "configs/text2image/sds.yaml",
    "configs/text2image/esd.yaml",
    "configs/text2image/svgd.yaml",
    "configs/text2image/nfsd.yaml",
    "configs/text2image/flow.yaml",
    "configs/text2image/vsd.yaml",
    "configs/text2image/ancestral.yaml",
    "configs/text2image/particle-guidance.yaml",
    "configs/inverse/half-box.yaml",
    "configs/inverse/half-box-dps.yaml",
    "configs/inverse/free-form.yaml",
    "configs/inverse/motion-blur.yaml",
    "configs/text2nerf/dreamfusion-bundled.yaml",
    "configs/text2nerf/prolificdreamer.yaml",
]
SMALL = {  # of every config: few particles, no bars
    "text2image": ["system.particles.n_particles=2"],
    "inverse": ["system.solver.n_particles=2"],
    "text2nerf": ["system.guidance.pretrained_model_name_or_path=bundled"],
}
SECTIONS = {  # section -> key that names its class
    "data": "data_type",
    "system": "system_type",
    "system.guidance": "system.guidance_type",
    "system.prompt_processor": "system.prompt_processor_type",
    "system.geometry": "system.geometry_type",
    "system.material": "system.material_type",
    "system.background": "system.background_type",
    "system.renderer": "system.renderer_type",
}


@functools.cache
def config_keys(config: str) -> list[str]:
    """Dotted keys of a config: those in the file, and those that its classes accept."""
    import dataclasses
    import inspect

    from threestudio_rsd.extension.systems.base_2d import ImageParticlesConfig
    from threestudio_rsd.host import ExperimentConfig, find
    from threestudio_rsd.inverse import SolverConfig
    from threestudio_rsd.inverse.operators import OperatorConfig
    from threestudio_rsd.runs.launching import find_config, register_modules
    from threestudio_rsd.runs.result_files import flatten

    register_modules()
    loaded: Any = OmegaConf.load(find_config(config))
    keys = dict.fromkeys(flatten(OmegaConf.to_container(loaded)))

    def add(section: str, fields: Any) -> None:
        prefix = f"{section}." if section else ""
        keys.update(dict.fromkeys(f"{prefix}{field.name}" for field in dataclasses.fields(fields)))

    add("", ExperimentConfig)
    for section, named_by in SECTIONS.items():
        name = OmegaConf.select(loaded, named_by)
        if name:
            found = find(name)
            config_class = getattr(found, "Config", None)
            if dataclasses.is_dataclass(config_class):
                add(section, config_class)
    if "inverse" in config:
        add("system.solver", SolverConfig)
        add("data.operator", OperatorConfig)
    if "text2image" in config:
        add("system.particles", ImageParticlesConfig)
    keys.update(dict.fromkeys(f"trainer.{name}" for name in inspect.signature(pl.Trainer.__init__).parameters))
    keys.update(dict.fromkeys(f"checkpoint.{name}" for name in inspect.signature(ModelCheckpoint.__init__).parameters))
    keys.update(dict.fromkeys(["system.optimizer.args.lr", "system.optimizer.args.betas", "system.loss.lambda_sds"]))
    return sorted(keys)


@st.composite
def launches(draw: st.DrawFn, config: st.SearchStrategy[str] | None = None) -> list[str]:
    """`rsd launch` with one to three odd overrides."""
    name = draw(config or st.sampled_from(CONFIGS))
    overrides = []
    for _ in range(draw(st.integers(1, 3))):
        key = draw(st.sampled_from(config_keys(name)))
        if draw(st.integers(0, 19)) == 0:
            key = draw(
                st.sampled_from([key.upper(), key + ".x", key.rpartition(".")[0], "", "a" * 5000, "a..b", "é", "[0]"])
            )
        overrides.append(f"{key}={draw(values())}")
    mode = draw(st.sampled_from(["train", "train", "train", "validate", "test", "export"]))
    small = SMALL[name.split("/")[1]]
    verbose = ["--verbose"] if draw(st.integers(0, 9)) == 0 else []
    return ["launch", "--config", name, f"--{mode}", *verbose, "name=fuzz", *small, *overrides]


@functools.cache
def commands() -> dict[tuple[str, ...], list[argparse.Action]]:
    """Every command and sub-command with its arguments, read from the parser itself."""
    found: dict[tuple[str, ...], list[argparse.Action]] = {}

    def visit(parser: Any, words: tuple[str, ...]) -> None:
        if parser._add_arguments is not None:
            add, parser._add_arguments = parser._add_arguments, None
            add(parser)
        actions = [each for each in parser._actions if not isinstance(each, argparse._HelpAction)]
        found[words] = [each for each in actions if not isinstance(each, argparse._SubParsersAction)]
        for action in actions:
            if isinstance(action, argparse._SubParsersAction):
                for name, inner in action.choices.items():
                    visit(inner, (*words, name))

    visit(build_parser(), ())
    return found


@st.composite
def command_lines(draw: st.DrawFn) -> list[str]:
    """Any command with odd values of some of its options."""
    first = draw(st.sampled_from(sorted({words[:1] for words in commands()})))  # `reproduce` alone has 17 more
    words = draw(st.sampled_from(sorted(words for words in commands() if words[:1] == first)))
    line = [*words]
    for action in commands()[words]:
        if not action.required and action.option_strings and draw(st.integers(0, 2)):
            continue
        chosen = draw(values()) if draw(st.integers(0, 2)) else draw(plausible(action))
        if not action.option_strings:
            line.append(chosen)
        elif action.nargs == 0:
            line.append(draw(st.sampled_from(action.option_strings)))
        elif draw(st.booleans()):
            line.append(f"{action.option_strings[-1]}={chosen}")
        else:
            line += [action.option_strings[-1], chosen]
    if draw(st.integers(0, 19)) == 0:
        line.insert(draw(st.integers(0, len(line))), draw(values()))
    return line


def plausible(action: argparse.Action) -> st.SearchStrategy[str]:
    """Values that an option accepts, so that the checks behind it are reached, too."""
    if action.choices:
        return st.sampled_from(sorted(map(str, action.choices)))
    known = {
        "config": CONFIGS[:3],
        "output": ["out", "file.txt", "closed/x"],
        "paths": ["run", "sweep", "image.png", "folder"],
        "folder": ["run", "sweep", "toy", "folder"],
        "prompts": ["prompts.txt", "file.txt"],
        "seeds": ["0:2", "1,2"],
        "gamma": ["0,10", "5"],
        "truth": ["image.png", "run"],
        "reference": ["run/save/test", "bundled"],
        "images": ["2", "folder"],
        "prior": ["bundled", "missing"],
    }
    return st.sampled_from(known.get(action.dest, ["1", "2", "a mushroom", "dino", "0.5", "cpu"]))


class Stopped(BaseException):
    """The command has reached what takes long: its arguments were accepted."""


def _stop(*_: Any, **__: Any) -> Any:
    raise Stopped


def prepare_workplace(folder: Path) -> None:
    """Files and folders of every bad kind."""
    from PIL import Image

    (folder / "folder").mkdir()
    (folder / "file.txt").write_text("text\n")
    (folder / "prompts.txt").write_text("a mushroom\na car\n")
    (folder / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nbroken")
    (folder / "broken.yaml").write_text("a: [")
    (folder / "list.yaml").write_text("- a\n")
    (folder / "config.yaml").write_text("name: x\n")
    (folder / "broken.json").write_text("{")
    (folder / "link").symlink_to("nothing")
    Image.new("RGB", (8, 8)).save(folder / "image.png")
    closed = folder / "closed"
    closed.mkdir()
    closed.chmod(0o500)


def stop_before_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace what takes long by `Stopped`, and load the bundled networks once."""
    import subprocess

    from threestudio_rsd.evaluation.instruments import Instruments
    from threestudio_rsd.reproduce import definitions, experiment_files
    from threestudio_rsd.runs.run_set import RunSet

    for name in ("fit", "validate", "test", "predict"):
        monkeypatch.setattr(pl.Trainer, name, _stop)
    monkeypatch.setattr(Instruments, "measure", _stop)
    monkeypatch.setattr(RunSet, "compute", _stop)
    monkeypatch.setattr(subprocess, "run", _stop)
    monkeypatch.setattr(subprocess, "Popen", _stop)
    for target in (
        "threestudio_rsd.costs.count_flops",
        "threestudio_rsd.costs.step_times",
        "threestudio_rsd.costs.force_memory",
        "threestudio_rsd.reproduce.gaussian_toy.simulate",
        "threestudio_rsd.reproduce.solver_tables.load_prior",
        "threestudio_rsd.toyworld.model_card.save_renders",
        "threestudio_rsd.toyworld.model_card.save_cards",
        "threestudio_rsd.toyworld.check.run_check",
        "threestudio_rsd.toyworld.examples.write_examples",
        "threestudio_rsd.cli.toyworld_train.rebuild",
        "threestudio_rsd.app.interface.serve",
    ):
        monkeypatch.setattr(target, _stop)
    read = _copied(functools.cache(experiment_files.read_file))
    monkeypatch.setattr(experiment_files, "read_file", read)
    monkeypatch.setattr(definitions, "read_file", read)
    _load_once(monkeypatch)


def _copied(function: Callable) -> Callable:
    return lambda name: copy.deepcopy(function(name))


def _load_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from threestudio_rsd.extension import prior_config
    from threestudio_rsd.extension.guidance import noise, repulsion, svgd
    from threestudio_rsd.priors import load_prior
    from threestudio_rsd.repulsion import load_features

    monkeypatch.setattr(prior_config, "load_prior", functools.cache(load_prior))
    cached = functools.cache(load_features)
    for module in (noise, repulsion, svgd):
        monkeypatch.setattr(module, "load_features", cached)


def _hang(*_: Any) -> None:
    raise AssertionError(f"the command has not ended after {SECONDS} s of computation or {WAITING} s")


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    timers = {signal.ITIMER_PROF: (signal.SIGPROF, SECONDS), signal.ITIMER_REAL: (signal.SIGALRM, WAITING)}
    former = {number: signal.signal(number, _hang) for number, _ in timers.values()}
    for timer, (_, seconds) in timers.items():
        signal.setitimer(timer, seconds)
    try:
        yield
    finally:
        for timer in timers:
            signal.setitimer(timer, 0)
        for number, handler in former.items():
            signal.signal(number, handler)


def run_line(line: list[str], run: Callable[[list[str]], int] = main) -> tuple[int, str]:
    """Exit code and stderr of a command line; an exception is a defect and passes through."""
    shown = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="strict")
    with _limited(), contextlib.redirect_stderr(shown), contextlib.redirect_stdout(out):
        try:
            code = run(line)
        except Stopped:
            code = 0
        except SystemExit as stopped:
            code = int(stopped.code or 0)
        out.flush()
    shown.flush()
    return code, shown.buffer.getvalue().decode()


def check(line: list[str]) -> int:
    """Run a command line and check that it is accepted, or refused with one sentence."""
    code, shown = run_line(line)
    assert code in (0, 2), (code, shown[-2000:])
    if code == 2:
        last = shown.rstrip("\n").split("\n")[-1]
        assert last.startswith("rsd: error: "), shown[-2000:]
        assert shown.count("rsd: error: ") == 1, shown[-2000:]
        if "--verbose" not in line:
            assert "Traceback" not in shown, shown[-2000:]
    return code
