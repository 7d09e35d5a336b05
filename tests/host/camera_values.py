"""Batches of the camera datamodules; also a program that saves them, for threestudio.

python camera_values.py OUTPUT.pt
"""

import random
import sys

import torch

SMALL = {"height": 5, "width": 7, "eval_height": 4, "eval_width": 6, "n_val_views": 4, "n_test_views": 5}
STAGES = {"height": [5, 6], "width": [7, 8], "batch_size": [4, 2], "resolution_milestones": [20]}
CASES = {
    "defaults": ("random-camera-datamodule", {"batch_size": 4}),
    "magic3d": ("random-camera-datamodule", {"batch_size": 4, "light_sample_strategy": "magic3d"}),
    "independent": ("random-camera-datamodule", {"batch_size": 5, "batch_uniform_azimuth": False}),
    "long rays": ("random-camera-datamodule", {"batch_size": 2, "rays_d_normalize": False}),
    "progressive": ("random-camera-datamodule", {"batch_size": 2, "progressive_until": 50}),
    "stages": ("random-camera-datamodule", STAGES),
    "particles": ("particle-camera-datamodule", {"batch_size": 6, "n_particles": 3}),
    "particles in stages": ("particle-camera-datamodule", {**STAGES, "n_particles": 2}),
}
STEPS = (1, 19, 20, 70)  # threestudio draws step 0 from the progressive ranges even where there is no progress


def values(case: str) -> dict[str, torch.Tensor]:
    """Tensors of the training batches of STEPS and of both evaluations, by batch and name."""
    from threestudio_rsd.host import find

    name, config = CASES[case]
    torch.manual_seed(5)  # the seed of a run, which seeds the cameras of particles
    data = find(name)({**SMALL, **config})
    data.setup()
    batches = {}
    for step in STEPS:
        data.train_dataset.update_step(0, step)
        torch.manual_seed(step)
        random.seed(step)
        batches[f"step {step}"] = data.train_dataset.collate([{}])
    for split, loader in (("val", data.val_dataloader()), ("test", data.test_dataloader())):
        batches |= {f"{split} {int(batch['index'])}": batch for batch in loader}
    return {
        f"{place}/{key}": torch.as_tensor(value) for place, batch in batches.items() for key, value in batch.items()
    }


def main() -> None:
    from real_threestudio import prelude

    prelude()
    import threestudio_rsd.extension.systems  # noqa: F401 registers particle-camera-datamodule

    torch.save({case: values(case) for case in CASES}, sys.argv[1])


if __name__ == "__main__":
    main()
