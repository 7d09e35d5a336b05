"""Cost of a step: floating-point operations at the sizes of published models, time and peak memory."""

from .flops import FlopRow, count_flops
from .memory import peak_memory
from .model_sizes import MODEL_SIZES, random_features, random_prior
from .step_ratios import MemoryRow, TimeRow, force_memory, step_times
from .timing import interleaved_seconds

__all__ = [
    "MODEL_SIZES",
    "FlopRow",
    "MemoryRow",
    "TimeRow",
    "count_flops",
    "force_memory",
    "interleaved_seconds",
    "peak_memory",
    "random_features",
    "random_prior",
    "step_times",
]
