"""`process_map`: apply a function to many items in several processes of one thread each.

Small networks run faster in several processes of one thread than in one process of several threads.
"""

import os
import signal
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import torch
from torch import multiprocessing
from tqdm import tqdm

from .signals import end_with_parent

Item = TypeVar("Item")
Result = TypeVar("Result")


def process_map(
    function: Callable[[Item], Result],
    items: Sequence[Item],
    workers: int,
    *,
    description: str | None = None,
    unit: str = "it",
    sizes: Sequence[int] | None = None,
    set_up: Callable[[], object] | None = None,
) -> list[Result]:
    """Results of `function` for each item, in the order of the items, with a progress bar.

    An exception in a worker is raised here, and ends the other workers. So does Ctrl-C.

    Args:
        function: function of one item. It must be picklable, as functions at the top level of a module are.
        items: arguments of the calls, which must be picklable.
        workers: number of processes; with 1 everything runs in the calling process, with its own threads.
        description: text in front of the progress bar.
        unit: name of what the progress bar counts.
        sizes: amount by which each item moves the progress bar, such as its number of images; None: 1 each.
        set_up: picklable function that each worker process calls once before its first item.

    Example:
        >>> process_map(len, ["a", "bcd"], workers=1)
        [1, 3]
    """
    sizes = [1] * len(items) if sizes is None else sizes
    results: list[Result] = []
    with tqdm(total=sum(sizes), desc=description, unit=unit, leave=False) as bar:

        def collect(found: Iterable[Result]) -> None:
            for result, size in zip(found, sizes, strict=True):
                results.append(result)
                bar.update(size)

        if workers == 1:
            collect(map(function, items))
        else:
            context = multiprocessing.get_context("spawn")
            with context.Pool(min(workers, max(1, len(items))), _start_worker, (os.getpid(), set_up)) as pool:
                collect(pool.imap(function, items))
    return results


def _start_worker(parent: int, set_up: Callable[[], object] | None) -> None:
    end_with_parent(signal.SIGKILL, parent)()  # a pool does not notice that its program was killed
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the parent, which then ends the pool
    if set_up is not None:
        set_up()
