"""`PromptProcessor`: text embeddings of a prompt and of its versions for each direction of view."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from ...errors import UserError
from ..utils.base import BaseObject
from ..utils.messages import info
from ..utils.misc import barrier


@dataclass
class DirectionConfig:
    """A direction of view."""

    name: str  # side, front, back or overhead
    prompt: Callable[[str], str]  # makes the prompt of this direction
    negative_prompt: Callable[[str], str]  # makes the negative prompt of this direction
    # Whether views are in this direction: elevation, azimuth (degrees) and camera distance, each (B,), to bool (B,)
    condition: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


@dataclass
class PromptProcessorOutput:
    """Text embeddings of a prompt, which guidance selects by view. L is the number of tokens, D their width."""

    text_embeddings: torch.Tensor  # (1, L, D)
    uncond_text_embeddings: torch.Tensor  # of the negative prompt, (1, L, D)
    text_embeddings_vd: torch.Tensor  # one for each direction, (directions, L, D)
    uncond_text_embeddings_vd: torch.Tensor  # of the negative prompt, (directions, L, D)
    directions: list[DirectionConfig]
    direction2idx: dict[str, int]  # index of a direction by its name
    use_perp_neg: bool  # whether guidance should call `get_text_embeddings_perp_neg`
    perp_neg_f_sb: tuple[float, float, float]  # see PromptProcessor.Config, as the next three
    perp_neg_f_fsb: tuple[float, float, float]
    perp_neg_f_fs: tuple[float, float, float]
    perp_neg_f_sf: tuple[float, float, float]
    prompt: str
    prompts_vd: list[str]  # prompt of each direction

    def get_text_embeddings(
        self,
        elevation: torch.Tensor,
        azimuth: torch.Tensor,
        camera_distances: torch.Tensor,
        view_dependent_prompting: bool = True,
    ) -> torch.Tensor:
        """Embeddings for B views.

        Args:
            elevation: angle above the horizontal plane, degrees, (B,).
            azimuth: angle around the z axis, 0 at the front, degrees, (B,).
            camera_distances: distance from the origin, world units, (B,).
            view_dependent_prompting: use the prompt of each view's direction.

        Returns:
            (2 B, L, D): those of the prompt, then those of the negative prompt.
        """
        n_views = elevation.shape[0]
        if view_dependent_prompting:
            index = self.direction_index(elevation, azimuth, camera_distances)
            conditional = self.text_embeddings_vd[index]
            unconditional = self.uncond_text_embeddings_vd[index]
        else:
            conditional = self.text_embeddings.expand(n_views, -1, -1)
            unconditional = self.uncond_text_embeddings.expand(n_views, -1, -1)
        return torch.cat([conditional, unconditional])

    def get_text_embeddings_perp_neg(
        self,
        elevation: torch.Tensor,
        azimuth: torch.Tensor,
        camera_distances: torch.Tensor,
        view_dependent_prompting: bool = True,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Embeddings and weights of Perp-Neg (Armandpour et al., 2023) for B views.

        The prompt's embedding is interpolated between the two directions next to the view: front and side, or side and
        back. The negatives are the front and the side; for an overhead view their weights are 0.

        Args:
            elevation: angle above the horizontal plane, degrees, (B,).
            azimuth: angle around the z axis, 0 at the front, degrees, (B,).
            camera_distances: distance from the origin, world units, (B,).
            view_dependent_prompting: must be True.

        Returns:
            Embeddings (4 B, L, D): those of the prompt, those of the negative prompt, then the two negatives of each
            view, view by view; and the weights of the negatives (B, 2).

        Raises:
            UserError: `view_dependent_prompting` is False.
        """
        if not view_dependent_prompting:
            raise UserError("use_perp_neg=True needs view_dependent_prompting=True; set both or neither.")
        index = self.direction_index(elevation, azimuth, camera_distances)
        front, side, back, overhead = (
            self.text_embeddings_vd[self.direction2idx[name]] for name in ("front", "side", "back", "overhead")
        )
        quarters = (_from_front(azimuth) / 90).to(index.device)  # 0 front, 1 side, 2 back
        ahead, above = quarters < 1, index == self.direction2idx["overhead"]
        share = torch.where(ahead, 1 - quarters, 2 - quarters)  # share of the direction nearer to the front

        def by_view(condition: torch.Tensor, yes: torch.Tensor, no: torch.Tensor) -> torch.Tensor:
            return torch.where(condition[:, None, None], yes, no)

        first, second = by_view(ahead, front, side), by_view(ahead, side, back)
        conditional = by_view(above, overhead, torch.lerp(second, first, share.to(first.dtype)[:, None, None]))
        unconditional = self.uncond_text_embeddings_vd[index]
        negatives = [first, by_view(ahead, side, front)]
        negatives = [by_view(above, unconditional, negative) for negative in negatives]
        weights = self._perp_neg_weights(ahead, share).masked_fill(above[:, None], 0)
        return torch.cat([conditional, unconditional, torch.stack(negatives, 1).flatten(0, 1)]), weights

    def _perp_neg_weights(self, ahead: torch.Tensor, share: torch.Tensor) -> torch.Tensor:
        """Weights (B, 2) of (front, side) for views between front and side, of (side, front) for the others.

        Args:
            ahead: whether the view lies between front and side, (B,).
            share: share of the direction nearer to the front in the interpolated prompt, (B,).
        """
        front_half = [_decay(self.perp_neg_f_fs, share), _decay(self.perp_neg_f_sf, 1 - share)]
        back_half = [_decay(self.perp_neg_f_sb, share), _decay(self.perp_neg_f_fsb, share)]
        return -torch.where(ahead[:, None], torch.stack(front_half, 1), torch.stack(back_half, 1))

    def direction_index(
        self, elevation: torch.Tensor, azimuth: torch.Tensor, camera_distances: torch.Tensor
    ) -> torch.Tensor:
        """Index of each view's direction: the last one whose condition is true.

        Args:
            elevation: angle above the horizontal plane, degrees, (B,).
            azimuth: angle around the z axis, 0 at the front, degrees, (B,).
            camera_distances: distance from the origin, world units, (B,).

        Returns:
            (B,)
        """
        index = torch.zeros_like(elevation, dtype=torch.long)
        for direction in self.directions:
            holds = direction.condition(elevation, azimuth, camera_distances)
            index[holds] = self.direction2idx[direction.name]
        return index.to(self.text_embeddings_vd.device)


class PromptProcessor(BaseObject):
    """Base class of prompt processors, which embed a prompt for each direction of view.

    Subclasses implement `load_from_cache`, and `prepare_text_embeddings` to embed all prompts together.

    Raises:
        UserError: the prompt is empty, or the config needs what only threestudio has.
    """

    @dataclass
    class Config(BaseObject.Config):
        # threestudio's keys and defaults
        prompt: str = "a hamburger"  # text to embed
        prompt_front: str | None = None  # prompt for views of the front; null: made from `prompt`
        prompt_side: str | None = None  # prompt for views of the side; null: made from `prompt`
        prompt_back: str | None = None  # prompt for views of the back; null: made from `prompt`
        prompt_overhead: str | None = None  # prompt for views from above; null: made from `prompt`
        negative_prompt: str = ""  # text for the unconditional prediction
        # model whose text encoder is used; threestudio's default has left the Hugging Face Hub
        pretrained_model_name_or_path: str = "stable-diffusion-v1-5/stable-diffusion-v1-5"
        overhead_threshold: float = 60.0  # elevation above which a view is overhead, degrees
        front_threshold: float = 45.0  # largest angle between a view of the front and the front, degrees of azimuth
        back_threshold: float = 45.0  # largest angle between a view of the back and the back, degrees of azimuth
        view_dependent_prompt_front: bool = False  # "front view of X" instead of "X, front view"
        use_cache: bool = True  # for subclasses: keep embeddings in a file cache
        spawn: bool = True  # accepted for threestudio's configs, without effect here

        # Perp-Neg (Armandpour et al., 2023): the weight of a negative is -(a exp(-b r) + c) with [a, b, c] below, where
        # r is the share of the direction nearer to the front (for sf: of the side)
        use_perp_neg: bool = False  # have guidance use Perp-Neg
        perp_neg_f_sb: tuple[float, float, float] = (1, 0.5, -0.606)  # side as negative, between side and back
        perp_neg_f_fsb: tuple[float, float, float] = (1, 0.5, 0.967)  # front as negative, between side and back
        perp_neg_f_fs: tuple[float, float, float] = (4, 0.5, -2.426)  # front as negative, between front and side
        perp_neg_f_sf: tuple[float, float, float] = (4, 0.5, -2.426)  # side as negative, between front and side

        use_prompt_debiasing: bool = False  # needs threestudio; true is an error
        pretrained_model_name_or_path_prompt_debiasing: str = "bert-base-uncased"  # model for the debiasing; no effect
        prompt_debiasing_mask_ids: list[int] | None = None  # words for the debiasing; no effect

    cfg: Any  # Config

    def configure(self) -> None:
        if self.cfg.use_prompt_debiasing:
            raise UserError("use_prompt_debiasing=True needs threestudio; without it the accepted value is False.")
        for key in ("perp_neg_f_sb", "perp_neg_f_fsb", "perp_neg_f_fs", "perp_neg_f_sf"):
            if len(self.cfg[key]) != 3:
                raise UserError(f"{key}={list(self.cfg[key])} is impossible; accepted: three numbers [a, b, c].")
        self.prompt = self.preprocess_prompt(self.cfg.prompt)
        self.negative_prompt = self.cfg.negative_prompt or ""
        self.directions = self._make_directions()
        self.direction2idx = {direction.name: i for i, direction in enumerate(self.directions)}
        self.prompts_vd = [
            self.cfg[f"prompt_{direction.name}"] or direction.prompt(self.prompt) for direction in self.directions
        ]
        self.negative_prompts_vd = [direction.negative_prompt(self.negative_prompt) for direction in self.directions]
        info(f"Prompt: {self.prompt!r}, negative prompt: {self.negative_prompt!r}")
        self.prepare_text_embeddings()
        self.load_text_embeddings()

    def preprocess_prompt(self, prompt: str) -> str:
        """Check a prompt and return it.

        Raises:
            UserError: the prompt is empty, or names an entry of threestudio's prompt library.
        """
        if not prompt or not prompt.strip():
            raise UserError(f"prompt={prompt!r} is empty; accepted: a text such as 'a mushroom'.")
        if prompt.startswith("lib:"):
            raise UserError(f"prompt={prompt!r} needs threestudio's prompt library; accepted: the text itself.")
        return prompt

    def prepare_text_embeddings(self) -> None:
        """For subclasses: embed `prompt`, `negative_prompt`, `prompts_vd` and `negative_prompts_vd` together."""

    def load_from_cache(self, prompt: str) -> torch.Tensor:
        """For subclasses: return the embedding (L, D) of a prompt."""
        raise NotImplementedError

    def load_text_embeddings(self) -> None:
        """Load the embeddings of all prompts."""
        barrier()  # the first process may still be embedding
        self.text_embeddings = self.load_from_cache(self.prompt)[None]
        self.uncond_text_embeddings = self.load_from_cache(self.negative_prompt)[None]
        self.text_embeddings_vd = torch.stack([self.load_from_cache(p) for p in self.prompts_vd])
        self.uncond_text_embeddings_vd = torch.stack([self.load_from_cache(p) for p in self.negative_prompts_vd])

    def __call__(self) -> PromptProcessorOutput:
        """Return the embeddings of all prompts."""
        return PromptProcessorOutput(
            text_embeddings=self.text_embeddings,
            uncond_text_embeddings=self.uncond_text_embeddings,
            text_embeddings_vd=self.text_embeddings_vd,
            uncond_text_embeddings_vd=self.uncond_text_embeddings_vd,
            directions=self.directions,
            direction2idx=self.direction2idx,
            use_perp_neg=self.cfg.use_perp_neg,
            perp_neg_f_sb=self.cfg.perp_neg_f_sb,
            perp_neg_f_fsb=self.cfg.perp_neg_f_fsb,
            perp_neg_f_fs=self.cfg.perp_neg_f_fs,
            perp_neg_f_sf=self.cfg.perp_neg_f_sf,
            prompt=self.prompt,
            prompts_vd=self.prompts_vd,
        )

    def _make_directions(self) -> list[DirectionConfig]:
        """Side, front, back, overhead; the last one whose condition is true is used."""
        in_front = self.cfg.view_dependent_prompt_front

        def direction(name: str, condition: Callable) -> DirectionConfig:
            words = {"back": "backside"}.get(name, name) if in_front else name

            def prompt(text: str) -> str:
                return f"{words} view of {text}" if in_front else f"{text}, {words} view"

            return DirectionConfig(name, prompt, lambda text: text, condition)

        return [
            direction("side", lambda elevation, azimuth, distance: torch.ones_like(elevation, dtype=torch.bool)),
            direction("front", lambda e, azimuth, d: _from_front(azimuth) < self.cfg.front_threshold),
            direction("back", lambda e, azimuth, d: _from_front(azimuth) > 180 - self.cfg.back_threshold),
            direction("overhead", lambda elevation, a, d: elevation > self.cfg.overhead_threshold),
        ]


def _from_front(azimuth: Any) -> Any:
    """Degrees between the view and the front, in [0, 180]."""
    return ((azimuth + 180) % 360 - 180).abs()


def _decay(numbers: tuple[float, float, float], r: torch.Tensor) -> torch.Tensor:
    """Return `a * exp(-b r) + c` for numbers [a, b, c]."""
    a, b, c = numbers
    return a * torch.exp(-b * r) + c
