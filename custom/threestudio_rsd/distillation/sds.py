"""Score distillation sampling (Poole et al., 2022)."""

from torch import Tensor

from .method import Method, Step


class SDS(Method):
    """Score distillation sampling: eps_w(x_t) - noise. Arguments: see `Method`."""

    only_guided = True

    def direction(self, step: Step) -> Tensor:
        """See `Method.direction`."""
        return step.predictions.guided(self.guidance_scale) - step.noise
