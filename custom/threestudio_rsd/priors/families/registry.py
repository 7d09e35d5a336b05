"""Registry of the types of priors that `load_prior` can load, beside Stable Diffusion and DeepFloyd IF."""

from collections.abc import Callable
from typing import Any

from ...errors import UserError
from ..pipelines import PIPELINES

FAMILIES: dict[str, Any] = {}  # class of the prior by prior_type


def register_prior(prior_type: str, pipelines: tuple[str, ...]) -> Callable[[type], type]:
    """Decorator that registers a prior, so that `load_prior`, guidance modules and prompt processors can use it.

    Args:
        prior_type: name in configs, such as `flux`.
        pipelines: classes of diffusers whose pipelines the prior loads.

    Raises:
        UserError: another class has the name, or another type of prior has one of the pipelines.
    """

    def register(prior_class: Any) -> Any:
        known = FAMILIES.get(prior_type)
        if known is not None and known.__qualname__ != prior_class.__qualname__:
            raise UserError(f"prior_type={prior_type!r} is the registered name of {known.__name__}; choose another.")
        for name in pipelines:
            if PIPELINES.get(name, prior_type) != prior_type:
                raise UserError(f"{name} is the pipeline of prior_type={PIPELINES[name]!r}; leave it out.")
        FAMILIES[prior_type] = prior_class
        prior_class.prior_type = prior_type
        PIPELINES.update(dict.fromkeys(pipelines, prior_type))
        return prior_class

    return register
