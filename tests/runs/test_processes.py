"""Processes of runs on a GPU, which are no forks: sessions of their own that any thread may start."""

import os
import sys
import threading
import time

from threestudio_rsd.runs.processes import start_in_session, visible_gpus


def test_a_process_outlives_the_thread_that_started_it(tmp_path) -> None:
    (tmp_path / "program.py").write_text("import os, time\ntime.sleep(0.5)\nprint(os.getsid(0) == os.getpid())")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command, log = [sys.executable, "-m", "program"], tmp_path / "log.txt"
    started = []
    thread = threading.Thread(target=lambda: started.append(start_in_session(command, log, environment, on_gpu=True)))
    thread.start()
    thread.join()
    time.sleep(0.1)
    assert started[0].wait(60) == 0
    assert log.read_text() == "True\n"


def test_hidden_gpus_are_not_used(monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert visible_gpus() == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,3")
    assert visible_gpus() == ["2", "3"]
