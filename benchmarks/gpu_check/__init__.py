"""Check of the package on a machine with a GPU and no network: correctness, times and memory, in one command.

    python -m benchmarks.gpu_check.pack --output outputs/gpu_wheels     # here, with a network
    python -m benchmarks.gpu_check --output outputs/gpu_check           # there, from the root of this repository

PyTorch must be there; packages that are missing are installed from the wheels, without dependencies. The results,
`gpu_check.json` and `gpu_check.md`, are written anew after every row, so that a run that is cut off leaves all rows it
finished.
"""
