"""Time of an SDS loss and its gradient: ours at gamma 0 over threestudio's own `stable-diffusion-guidance`.

    OMP_NUM_THREADS=1 python benchmarks/threestudio_guidance_step.py

Both have the bundled prior and latents of 64 x 64, the size that threestudio fixes. With THREESTUDIO_ROOT in the
environment, in threestudio's interpreter, it is the code of that checkout; else the stand-in of this package. See
tests/host/real_threestudio.py for THREESTUDIO_PRELUDE.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch

ROOT = Path(__file__).parents[1]
OURS, THEIRS = "repulsive-sds-guidance", "stable-diffusion-guidance"


def large_model(folder: Path) -> str:
    """Write the bundled prior with latents of 64 x 64; returns its folder."""
    from threestudio_rsd.files import data_path

    shutil.copytree(data_path("load/toyworld/text-to-image"), folder)
    config = folder / "unet" / "config.json"
    config.write_text(json.dumps({**json.loads(config.read_text()), "sample_size": 64}))
    return str(folder)


def step(guidance: Any, prompts: Any, n: int) -> Callable[[], None]:
    """Function that computes the loss of N latents and its gradient."""
    latents = torch.randn(n, 64, 64, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()
    views = {"elevation": torch.zeros(n), "azimuth": torch.zeros(n), "camera_distances": torch.ones(n)}

    def run() -> None:
        latents.grad = None
        guidance(latents, prompts, **views, rgb_as_latents=True)["loss_sds"].backward()

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=15, help="steps timed of each")
    args = parser.parse_args()
    if os.environ.get("THREESTUDIO_ROOT"):
        sys.path[:0] = [os.environ["THREESTUDIO_ROOT"], str(ROOT / "tests" / "host"), str(ROOT / "custom")]
        from real_threestudio import prelude

        prelude()
    from threestudio_rsd.costs.timing import interleaved_seconds, median_ratio
    from threestudio_rsd.extension import threestudio_dreamfusion  # noqa: F401 registers
    from threestudio_rsd.host import find
    from threestudio_rsd.runs.launching import register_modules

    register_modules()
    with tempfile.TemporaryDirectory() as folder:
        model = large_model(Path(folder) / "model")
        common = {"pretrained_model_name_or_path": model, "half_precision_weights": False, "guidance_scale": 7.5}
        guidances = {OURS: find(OURS)({**common, "gamma": 0.0}), THEIRS: find(THEIRS)(common)}
        width = guidances[OURS].prior.embed("").conditional.shape[-1]
    text = torch.randn(2, 16, width, generator=torch.Generator().manual_seed(0))
    print(f"{THEIRS} is that of {sys.modules[type(guidances[THEIRS]).__module__].__file__}")
    for n in (1, 4):
        prompts = SimpleNamespace(
            use_perp_neg=False,
            get_text_embeddings=lambda *views, n=n: text.repeat_interleave(n, dim=0),
        )
        seconds = interleaved_seconds({name: step(each, prompts, n) for name, each in guidances.items()}, args.rounds)
        print(f"N = {n}: {median_ratio(seconds[OURS], seconds[THEIRS]):.3f}")


if __name__ == "__main__":
    main()
