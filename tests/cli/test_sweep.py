"""`rsd sweep`, mostly with a stand-in for `rsd launch` that starts at once."""

import fcntl
import json
import os
import signal
import sys
import threading
import time
from contextlib import nullcontext
from pathlib import Path

import pytest
from omegaconf import OmegaConf
from threestudio_rsd.cli.main import run_command
from threestudio_rsd.errors import UserError
from threestudio_rsd.runs import preloaded, run, workers
from threestudio_rsd.runs.run import Run
from threestudio_rsd.runs.workers import ClusterRun, ClusterWorkers

ROOT = Path(__file__).parents[2]
CONFIG = "configs/text2image/sds.yaml"
STAND_IN = """
import json, os, pathlib, signal, sys, time
values = {key: json.loads(value) for key, _, value in (a.partition("=") for a in sys.argv[1:]) if value}
root = pathlib.Path(values["exp_root_dir"])
folder = root / values["name"] / values["tag"]
gamma, seed = values.get("system.guidance.gamma", 0), values.get("seed", 0)
checkpoint = folder / "ckpts" / "last.ckpt"

def interrupted(number, frame):
    if gamma == 66:  # ignores the interruption
        return
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_text(str(number))
    sys.exit(128 + number)

for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, interrupted)
with open(root / "starts.txt", "a") as file:
    file.write(f"{gamma} {seed} {'resume' in values}\\n")
if gamma in (66, 77) and "resume" not in values:
    time.sleep(60)
if gamma == 13 and not (root / "mended").exists():
    print("a word\\nrsd: error: 13 is an unlucky number.\\nanother word")
    sys.exit(2)
if gamma == 14:
    os.kill(os.getpid(), signal.SIGKILL)
(folder / "save").mkdir(parents=True)
metrics = {"diversity": {"dino": gamma / 100 + seed / 1000}, "colors": 3, "class_accuracy": 1.0}
metrics |= {"seconds_per_step": 0.1, "threads": os.environ.get("OMP_NUM_THREADS")}
(folder / "save" / "metrics.json").write_text(json.dumps(metrics))
"""


@pytest.fixture
def stand_in(tmp_path, monkeypatch) -> Path:
    """Folder for a sweep whose runs are the stand-in's."""
    (tmp_path / "stand_in.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(preloaded, "PRELOADED", [])
    monkeypatch.setattr(run, "launcher", lambda: [sys.executable, "-m", "stand_in"])
    return tmp_path / "sweep"


def main(arguments: list[str]) -> int:
    return run_command(["sweep", *arguments])


def sweep(output: Path, *arguments: str) -> int:
    return main(["--config", CONFIG, "--no-check", "--output", str(output), *arguments])


def starts(output: Path) -> list[str]:
    return (output / "starts.txt").read_text().splitlines()


def states(output: Path) -> list[str]:
    return [run["state"] for run in json.loads((output / "sweep.json").read_text())["runs"]]


@pytest.mark.slow
def test_finished_runs_are_kept_and_new_ones_join_them(stand_in, monkeypatch, capsys) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert sweep(stand_in, "--gamma", "0,10", "--seeds", "0:2", "--workers", "2") == 0
    assert sorted(starts(stand_in)) == ["0 0 False", "0 1 False", "10 0 False", "10 1 False"]
    record = json.loads((stand_in / "sweep.json").read_text())
    assert record["grid"] == {"seed": [0, 1], "system.guidance.gamma": [0, 10]}
    assert all((stand_in / run["folder"] / "save" / "metrics.json").is_file() for run in record["runs"])
    assert all(int(run["metrics"]["threads"]) >= 1 for run in record["runs"])
    figures = record["summary"][1]["figures"]
    assert record["summary"][1]["settings"] == {"system.guidance.gamma": 10}
    assert figures["diversity_dino"]["mean"] == pytest.approx(0.1005)
    assert figures["diversity_dino"]["interval"] == pytest.approx([0.1, 0.101])
    printed = capsys.readouterr().out
    assert "gamma = 10" in printed
    assert "4 of 4 runs are finished" in printed

    assert sweep(stand_in, "--gamma", "0,10,20", "--seeds", "0:2") == 0
    assert sorted(starts(stand_in)[4:]) == ["20 0 False", "20 1 False"]


def test_runs_on_gpus_are_no_forks(stand_in, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.setattr(workers, "Fork", None)
    assert sweep(stand_in, "--gamma", "0,10", "--workers", "2") == 0


@pytest.mark.slow
def test_a_failed_run_is_listed_and_tried_again(stand_in, capsys) -> None:
    arguments = ("--gamma", "13,14,0")
    assert sweep(stand_in, *arguments) == 1
    assert states(stand_in) == ["failed", "failed", "finished"]
    printed = capsys.readouterr().out
    assert "13 is an unlucky number." in printed.split("2 failed:")[1]
    assert "SIGKILL" in printed
    log = next((stand_in / "logs").glob("gamma=13*.log"))
    assert str(log) in printed
    assert "a word" in log.read_text()

    assert sweep(stand_in, *arguments, "--list") == 0
    assert "failed      gamma=13" in capsys.readouterr().out
    assert sweep(stand_in, *arguments, "--no-retry") == 1
    assert len(starts(stand_in)) == 3
    (stand_in / "mended").touch()
    assert sweep(stand_in, *arguments) == 1
    assert states(stand_in) == ["finished", "failed", "finished"]
    assert len(starts(stand_in)) == 5


@pytest.fixture
def accepts_interruptions():
    """SIGINT raises KeyboardInterrupt, also where a shell runs the tests in the background, with SIGINT ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def _press(times: int, output: Path, runs: int, number: int = signal.SIGINT) -> threading.Thread:
    """Send a signal to this process the given number of times, once that many runs have started."""

    def press() -> None:
        while not (output / "starts.txt").is_file() or len(starts(output)) < runs:
            time.sleep(0.05)
        for _ in range(times):
            os.kill(os.getpid(), number)
            time.sleep(0.7)

    thread = threading.Thread(target=press)
    thread.start()
    return thread


def test_after_an_interruption_the_runs_go_on_from_their_checkpoints(stand_in, accepts_interruptions) -> None:
    arguments = ("--gamma", "77", "--seeds", "0:3", "--workers", "2")
    pressed = _press(1, stand_in, runs=2)
    assert sweep(stand_in, *arguments) == 130
    pressed.join()
    assert states(stand_in) == ["interrupted", "interrupted", "waiting"]
    pressed = _press(1, stand_in, runs=5)  # the third has no checkpoint
    assert sweep(stand_in, *arguments) == 130
    pressed.join()
    assert sorted(starts(stand_in)[2:]) == ["77 0 True", "77 1 True", "77 2 False"]
    assert sweep(stand_in, *arguments) == 0
    assert starts(stand_in)[5:] == ["77 2 True"]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_other_signals_are_handed_on_to_the_runs(stand_in, number, code) -> None:
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip(f"{number.name} is ignored here, as under nohup")
    pressed = _press(1, stand_in, 1, number)
    assert sweep(stand_in, "--gamma", "77") == code
    pressed.join()
    assert states(stand_in) == ["interrupted"]
    [checkpoint] = stand_in.glob("runs/*/ckpts/last.ckpt")
    assert checkpoint.read_text() == str(int(number))


def test_a_run_whose_former_process_still_saves_waits_for_it(stand_in, monkeypatch) -> None:
    run = Run(CONFIG, {"system.guidance.gamma": 0}, stand_in)
    run.folder.mkdir(parents=True)
    seen = []

    def wait(folder, in_use, seconds):
        seen.append((folder, seconds))
        return nullcontext()

    monkeypatch.setattr(workers, "locked_folder", wait)
    assert sweep(stand_in, "--gamma", "0") == 0
    assert seen == [(run.folder, workers.SAVING_SECONDS)]


@pytest.mark.slow
def test_a_second_interruption_kills_runs_that_ignore_the_first(stand_in, accepts_interruptions) -> None:
    pressed = _press(2, stand_in, runs=1)
    started = time.monotonic()
    assert sweep(stand_in, "--gamma", "66") == 130
    assert time.monotonic() - started < 30
    pressed.join()
    assert states(stand_in) == ["interrupted"]


def test_results_of_another_config_are_not_mixed(stand_in, tmp_path) -> None:
    config = tmp_path / "own.yaml"
    text = (ROOT / CONFIG).read_text()
    config.write_text(text)
    arguments = ["--config", str(config), "--no-check", "--output", str(stand_in), "--gamma", "0"]
    assert main(arguments) == 0
    run = Run(str(config), {"system.guidance.gamma": 0}, stand_in)
    from threestudio_rsd.host import load_config

    (run.folder / "configs").mkdir()
    parsed = load_config(str(config), cli_args=run.overrides(), n_gpus=3)
    OmegaConf.save(parsed, run.folder / "configs" / "parsed.yaml")
    assert main(arguments) == 0
    config.write_text(text.replace("lr: 0.03", "lr: 0.04"))
    with pytest.raises(UserError, match=r"system\.optimizer\.args\.lr=0\.03, which is now 0.04"):
        main(arguments)


def test_a_folder_is_locked_by_one_sweep_at_a_time(stand_in) -> None:
    stand_in.mkdir()
    with (stand_in / ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use by another sweep"):
            sweep(stand_in, "--gamma", "0")
    assert sweep(stand_in, "--gamma", "0") == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "none.yaml", "--gamma", "0"], "none.yaml"),
        ([], "nothing to vary"),
        (["--gamma", "0", "--set", "system.guidance.gamma=1"], "system.guidance.gamma is given twice"),
        (["--gamma", "0", "--set", "trainre.max_steps=1"], "did you mean trainer"),
        (["--set", "tag=a"], "--set tag"),
        (["--seeds", f"{2**32}"], "seed=4294967296"),
        (["--gamma", "0", "--workers", "0"], "--workers=0"),
        (["--gamma", "0", "--slurm", "partition=a"], "--backend slurm"),
    ],
)
def test_mistakes_are_one_sentence_and_start_nothing(arguments, message, stand_in) -> None:
    with pytest.raises(UserError, match=message):
        sweep(stand_in, *arguments)
    assert not stand_in.exists()


def test_slurm_without_submitit_names_the_extra(stand_in, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    with pytest.raises(UserError, match=r"pip install '\.\[sweep\]'"):
        sweep(stand_in, "--gamma", "0", "--backend", "slurm")


def test_slurm_options_and_its_absence_are_named(stand_in, monkeypatch) -> None:
    submitit = pytest.importorskip("submitit")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(UserError, match="needs Slurm"):
        sweep(stand_in, "--gamma", "0", "--backend", "slurm")
    monkeypatch.setattr(submitit.SlurmExecutor, "affinity", lambda self: 2)
    with pytest.raises(UserError, match="partitoin"):
        sweep(stand_in, "--gamma", "0", "--backend", "slurm", "--slurm", "partitoin=gpu")


class StandInRun(Run):
    """A run that is the stand-in's on a node as well."""

    def command(self) -> list[str]:
        resume = ["resume=1"] if self.checkpoint.is_file() else []
        return [sys.executable, "-S", str(self.output.parent / "stand_in.py"), *self.overrides(), *resume]


@pytest.mark.slow
def test_jobs_of_a_cluster_save_before_they_are_moved_and_go_on(stand_in, monkeypatch) -> None:
    submitit = pytest.importorskip("submitit")
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])  # a job cannot import this file
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "custom"))
    executor = submitit.LocalExecutor(stand_in / "jobs")
    runs = [StandInRun(CONFIG, {"system.guidance.gamma": gamma}, stand_in) for gamma in (0, 13, 77)]
    workers = ClusterWorkers(runs, executor)
    codes: dict[int, int] = {}
    moved = False
    deadline = time.monotonic() + 60
    while workers.busy and time.monotonic() < deadline:
        codes |= {run.settings["system.guidance.gamma"]: code for run, code in workers.poll()}
        begun = (stand_in / "starts.txt").is_file() and "77 0 False" in starts(stand_in)
        if begun and not moved:
            moved = True
            [(_, job)] = [pair for pair in workers._jobs if pair[0] is runs[2]]
            _preempt(job)
        time.sleep(0.1)
    assert codes == {0: 0, 13: 2, 77: 0}
    assert "77 0 True" in starts(stand_in)
    assert runs[1].failure(2) == "13 is an unlucky number."
    assert ClusterRun(runs[0]).run is runs[0]


def _preempt(job) -> None:
    """Send the preemption signal to every process of a job, as Slurm does."""
    log = job.paths.stdout
    pid = int(log.name.split("_")[0])
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    grandchildren = [g for c in children for g in Path(f"/proc/{c}/task/{c}/children").read_text().split()]
    for each in (*grandchildren, *children):
        os.kill(int(each), signal.SIGUSR2)


@pytest.mark.slow
def test_a_sweep_of_the_bundled_prior(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "custom"))
    prompts = tmp_path / "prompts.txt"
    prompts.write_text('a "red" house: #1\n')
    arguments = ["--config", CONFIG, "--output", str(tmp_path / "a sweep"), "--gamma", "0,10", "--seeds", "3"]
    arguments += ["--prompts", str(prompts), "--set", "trainer.max_steps=1", "system.particles.n_particles=2"]
    arguments += ["trainer.val_check_interval=1", "--workers", "2"]
    assert main(arguments) == 0
    record = json.loads((tmp_path / "a sweep" / "sweep.json").read_text())
    assert [run["metrics"]["gamma"] for run in record["runs"]] == [0, 10]
    assert all(run["metrics"]["prompt"] == 'a "red" house: #1' for run in record["runs"])
    assert {"diversity_dino", "colors", "seconds_per_step"} <= set(record["summary"][0]["figures"])
    capsys.readouterr()
    assert main(arguments) == 0
    assert "2 runs, of which 2 are finished" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"system\.guidance\.gama"):
        main([*arguments, "--set", "system.guidance.gama=1"])
