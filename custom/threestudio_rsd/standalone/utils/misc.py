"""Which process this is, which device it computes on, and how the processes wait for one another."""

import gc
import os

import torch


def get_rank() -> int:
    """Global rank of this process, 0 where there is only one."""
    # SLURM sets its variable also for what it does not distribute: the launchers' own variables go first.
    for variable in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK"):
        if variable in os.environ:
            return int(os.environ[variable])
    return 0


def get_device() -> torch.device:
    """The GPU of this process, or the CPU where there is none or RSD_DEVICE=cpu says so."""
    if os.environ.get("RSD_DEVICE") == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", 0)))


def barrier() -> None:
    """Wait for the other processes, if there are any."""
    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.barrier()


def cleanup() -> None:
    """Give unused memory back."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
