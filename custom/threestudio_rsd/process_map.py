"""Work spread over processes of one thread each, which small networks use better than one process of many threads."""

import signal
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch import multiprocessing
from tqdm import tqdm

Job = TypeVar("Job")
Result = TypeVar("Result")


def map_jobs(
    function: Callable[[Job], Result], jobs: Sequence[Job], sizes: Sequence[int], workers: int, description: str
) -> list[Result]:
    """`function` of every job, in the jobs' order, with a progress bar that counts images.

    Args:
        function: a module's own, so that other processes find it.
        jobs: its arguments.
        sizes: images of each job.
        workers: processes; with 1 all happens in this one.
        description: of the progress bar.
    """
    results: list[Any] = []
    with tqdm(total=sum(sizes), desc=description, unit="image", leave=False) as bar:

        def collect(found: Any) -> None:
            for result, size in zip(found, sizes, strict=True):
                results.append(result)
                bar.update(size)

        if workers == 1:
            collect(map(function, jobs))
        else:
            context = multiprocessing.get_context("spawn")
            with context.Pool(min(workers, max(1, len(jobs))), _set_up) as pool:
                collect(pool.imap(function, jobs))
    return results


def _set_up() -> None:
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends the pool
