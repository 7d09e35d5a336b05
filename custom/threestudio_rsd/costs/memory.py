"""Peak memory of a function."""

import os
from collections.abc import Callable
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

os.environ.setdefault("KINETO_LOG_LEVEL", "6")  # the profiler's library prints lines for each start otherwise


def peak_memory(function: Callable[[], object]) -> int:
    """Largest memory of tensors, in bytes, that a call holds above what was in use before it.

    On a GPU from the allocator's counters. On a CPU from the profiler's records of every allocation and release, which
    do not depend on other processes; they leave out the workspaces of libraries such as oneDNN.

    Args:
        function: called once, on the GPU that is in use or on the CPU.
    """
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        function()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        function()
    assert profiler.profiler is not None
    events: Any = profiler.profiler.kineto_results
    changes = [event.nbytes() for event in events.events() if event.name() == "[memory]"]
    held = peak = 0
    for change in changes:
        held += change
        peak = max(peak, held)
    return peak
