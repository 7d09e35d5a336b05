"""Command lines of `rsd launch` from the values of a form."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from ..errors import UserError, in_range, one_of
from ..runs.run import spelled_overrides

PICTURES_OF_A_RUN = 10  # validations, each with a picture
IMAGE_METHODS = {  # name in the form: config
    "fixed noise": "configs/text2image/flow.yaml",
    "SDS": "configs/text2image/sds.yaml",
    "VSD": "configs/text2image/vsd.yaml",
    "NFSD": "configs/text2image/nfsd.yaml",
    "sampling": "configs/text2image/ancestral.yaml",
}
OBJECT_METHODS = {
    "fixed noise": "configs/text2nerf/flow-bundled.yaml",
    "SDS": "configs/text2nerf/dreamfusion-bundled.yaml",
    "fixed noise, Gaussians": "configs/text2gaussians/flow-bundled.yaml",
    "SDS, Gaussians": "configs/text2gaussians/dreamfusion-bundled.yaml",
}
SOLVERS = {
    "proximal": "configs/inverse/half-box-proximal.yaml",
    "RSD": "configs/inverse/half-box.yaml",
    "PSLD": "configs/inverse/half-box-psld.yaml",
}
WITHOUT_FORCE = ("sampling", "PSLD")
PAINTED = "painted mask"  # operator of the form: hides what is painted
OPERATORS = ("half-box", PAINTED, "random", "decolorize", "super-resolution", "gaussian-blur")


@dataclass
class PromptForm:
    """Values that the tabs for images and 3D objects have in common.

    Attributes:
        prompt: text that the particles show.
        method: name of the method.
        n_particles: number of images or objects.
        gamma: repulsion weight.
        steps: steps of the run.
        seed: seed of the run.
        prior: `bundled`, a folder of diffusers or a hub id.
    """

    prompt: str = "a mushroom"
    method: str = "fixed noise"
    n_particles: int = 4
    gamma: float = 0.0
    steps: int = 300
    seed: int = 0
    prior: str = "bundled"


@dataclass
class ImagesForm(PromptForm):
    """Values of the tab for images; `method` is one of IMAGE_METHODS."""

    n_particles: int = 8
    steps: int = 40

    def overrides(self) -> tuple[str, dict[str, object]]:
        """Config, and values of its keys."""
        one_of("method", self.method, tuple(IMAGE_METHODS))
        values: dict[str, object] = {
            "system.prompt_processor.prompt": self.prompt,
            "system.particles.n_particles": self.n_particles,
            "seed": self.seed,
        }
        if self.method in WITHOUT_FORCE:
            _refuse_gamma(self.method, self.gamma)
            values |= {"system.pretrained_model_name_or_path": self.prior, "system.num_inference_steps": self.steps}
        else:
            values |= {
                "system.guidance.pretrained_model_name_or_path": self.prior,
                "system.guidance.gamma": self.gamma,
                "system.metrics_every": _every(self.steps),
                **_length(self.steps),
            }
        return IMAGE_METHODS[self.method], values


@dataclass
class ObjectsForm(PromptForm):
    """Values of the tab for 3D objects; `method` is one of OBJECT_METHODS."""

    def overrides(self) -> tuple[str, dict[str, object]]:
        """Config, and values of its keys."""
        one_of("method", self.method, tuple(OBJECT_METHODS))
        values = {
            "system.prompt_processor.prompt": self.prompt,
            "system.geometry.n_particles": self.n_particles,
            "data.batch_size": self.n_particles,
            "system.guidance.pretrained_model_name_or_path": self.prior,
            "system.guidance.gamma": self.gamma,
            "system.metrics_every": _every(self.steps),
            "seed": self.seed,
            **_length(self.steps),
        }
        return OBJECT_METHODS[self.method], values


@dataclass
class AnswersForm:
    """Values of the tab for inverse problems.

    Attributes:
        image: image file that is measured and restored.
        operator: one of OPERATORS.
        mask: image file of the mask for PAINTED, white where the image is seen.
        solver: one of SOLVERS.
        n_particles: number of answers.
        gamma: repulsion weight.
        steps: steps of the solver.
        seed: seed of measurement and solver.
        prior: `bundled`, a folder of diffusers or a hub id.
    """

    image: Path | None = None
    operator: str = "half-box"
    mask: Path | None = None
    solver: str = "proximal"
    n_particles: int = 4
    gamma: float = 0.0
    steps: int = 50
    seed: int = 0
    prior: str = "bundled"

    def overrides(self) -> tuple[str, dict[str, object]]:
        """Config, and values of its keys."""
        one_of("operator", self.operator, OPERATORS)
        one_of("solver", self.solver, tuple(SOLVERS))
        if self.image is None:
            raise UserError("There is no image; upload one, or take one of the examples.")
        if self.operator == PAINTED and self.mask is None:
            raise UserError("Nothing is painted; paint over the part of the image that is hidden.")
        values: dict[str, object] = {
            "data.image_path": str(self.image),
            "data.operator.name": "mask" if self.operator == PAINTED else self.operator,
            "data.operator.seed": self.seed,
            "system.pretrained_model_name_or_path": self.prior,
            "system.solver.n_particles": self.n_particles,
            "system.solver.n_steps": self.steps,
            "system.solver.seed": self.seed,
            "trainer.val_check_interval": _every(self.steps),
            "system.lpips": False,
        }
        if self.operator == PAINTED:
            values["data.operator.mask_path"] = str(self.mask)
        if self.solver in WITHOUT_FORCE:
            _refuse_gamma(self.solver, self.gamma)
        else:
            values["system.solver.gamma"] = self.gamma
        return SOLVERS[self.solver], values


Form: TypeAlias = ImagesForm | ObjectsForm | AnswersForm


def launch_command(form: Form, folder: Path) -> list[str]:
    """Arguments of `rsd launch` for a form.

    Args:
        form: values of a tab.
        folder: trial folder of the run, two levels below the folder of all results.

    Raises:
        UserError: a value that no run can have.
    """
    in_range("number of particles", form.n_particles, 1)
    in_range("steps", form.steps, 1)
    config, values = form.overrides()
    place = {
        "exp_root_dir": str(folder.parent.parent),
        "name": folder.parent.name,
        "tag": folder.name,
        "use_timestamp": False,
    }
    return ["launch", "--config", config, "--train", *spelled_overrides({**values, **place})]


def _length(steps: int) -> dict[str, object]:
    return {"trainer.max_steps": steps, "trainer.val_check_interval": _every(steps)}


def _every(steps: int) -> int:
    """Steps between two pictures."""
    return max(1, steps // PICTURES_OF_A_RUN)


def _refuse_gamma(name: str, gamma: float) -> None:
    if gamma:
        raise UserError(f"gamma={gamma:g} has no effect with {name}, whose particles are independent; accepted: 0.")
