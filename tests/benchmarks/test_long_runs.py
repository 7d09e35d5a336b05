"""Long runs of each system need no more memory, handles, threads and processes than their first steps."""

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch

from benchmarks.long_runs import SYSTEMS, Sample, describe, take_sample, train_in_new_process

pytestmark = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the figures come from Linux's /proc")


@pytest.mark.slow
def test_a_sample_sees_what_is_kept(tmp_path):
    before = take_sample(1, 0.1)
    tensors = [torch.ones(1) for _ in range(10)]
    large = torch.ones(2**24)
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    with (tmp_path / "file").open("w"), subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1) as child:
        after = take_sample(2, 0.1)
        child.communicate(b"\n")
    ended.set()
    thread.join()
    assert after.tensors == before.tensors + len(tensors) + 1
    assert after.resident >= before.resident + 0.9 * large.numel() * large.element_size()
    assert after.handles == before.handles + 2  # the file, and the pipe to the child
    assert after.threads == before.threads + 1
    assert after.children == before.children + 1


def test_the_table_compares_the_largest_later_value_with_the_first():
    first = Sample(10, resident=2**20, objects=100, tensors=10, handles=5, threads=2, children=0, seconds=0.5)
    peak = Sample(20, resident=2**21, objects=110, tensors=10, handles=7, threads=2, children=1, seconds=0.5)
    last = Sample(30, resident=2**20, objects=100, tensors=5, handles=5, threads=2, children=0, seconds=1.0)
    assert describe([first, peak, last]) == ["1", "2.000", "1.100", "1.000", "5 to 7", "2 to 2", "0 to 1", "2.00"]


@pytest.mark.long
@pytest.mark.parametrize("name", SYSTEMS)
def test_nothing_grows_after_the_first_steps(name):
    first, *later = train_in_new_process(name, 240, 80)
    assert (first.step, later[-1].step) == (80, 240)
    for sample in later:
        assert sample.resident <= 1.05 * first.resident
        assert sample.objects <= 1.005 * first.objects
        assert sample.tensors <= first.tensors
        assert (sample.handles, sample.threads, sample.children) == (first.handles, first.threads, first.children)
