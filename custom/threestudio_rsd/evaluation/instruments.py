"""Metrics of image sets. Networks are loaded once; metrics whose network cannot be loaded are left out."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..files import data_path
from ..inverse.answer_metrics import answer_metrics, mean_metrics
from ..metrics import diversity, load_lpips, pairwise_similarity, vendi_score
from ..metrics.aesthetic import CLIP as AESTHETIC_CLIP
from ..metrics.aesthetic import aesthetic_score, load_aesthetic_head
from ..metrics.clip_score import clip_score, load_text_encoder
from ..metrics.distribution import coverage, frechet_distance, kernel_inception_distance, load_inception, recall
from ..metrics.statistics import estimate
from ..names import AESTHETIC_HEAD, EVALUATION_METRICS
from ..repulsion import load_features
from ..repulsion.features import BUNDLED, HUB_IDS
from ..toyworld import ToyworldJudge, judge_objects, truth_metrics
from ..toyworld.captions import named_attributes
from ..toyworld.judge import IMAGE_SIZE
from ..toyworld.render import render_scenes
from ..toyworld.world import CLASSES, COLORS, choose_scenes
from .embedding import embed
from .image_sets import Group, ImageFiles, ImageSet, list_reference

WITHIN_GROUPS = {"similarity": pairwise_similarity, "diversity": diversity, "vendi": vendi_score}
TO_REFERENCE = {
    "frechet": frechet_distance,
    "kid": kernel_inception_distance,
    "recall": recall,
    "coverage": coverage,
}
TO_TRUTH = ("psnr", "ssim", "lpips")
REFERENCES = 500  # renders of the bundled world for a set's prompts
REFERENCE_SEED = 80_000  # seed of the renders; no training used it


@dataclass
class Options:
    """Metrics and networks of an evaluation.

    Attributes:
        metrics: some of EVALUATION_METRICS; None: all that the images allow.
        features: networks of similarity, diversity and Vendi score, see `load_features`.
        clip: network of the CLIP score: a name, folder or hub id.
        aesthetic: weights of the aesthetic head.
        reference: images (3, H, W) that the sets are compared with, a folder of images, or `bundled`, renders of each
            set's prompts; None: no comparison.
        reference_features: network of the comparison: `inception`, `judge`, or see `load_features`; None: the judge on
            the bundled world, else Inception.
        is_bundled: whether all images are of the bundled world.
        device: device of the networks.
    """

    metrics: Sequence[str] | None = None
    features: Sequence[str] = ("dino", "clip")
    clip: str = "clip"
    aesthetic: str = AESTHETIC_HEAD
    reference: str | Sequence[Tensor] | None = None
    reference_features: str | None = None
    is_bundled: bool = False
    device: str = "cpu"


@dataclass
class Measurement:
    """One metric of an image set.

    Attributes:
        mean: mean over the groups.
        values: value of each group that has one; empty for a metric of all images together.
    """

    mean: float
    values: list[float]

    def record(self) -> dict[str, Any]:
        """`{"mean", "values", "interval"}` for JSON, with the 95 % bootstrap interval if there are several values."""
        result: dict[str, Any] = {"mean": self.mean}
        if self.values:
            result["values"] = self.values
        if len(self.values) > 1:
            result["interval"] = estimate(self.values).interval
        return result


class Instruments:
    """Measures image sets. `left_out` has the metrics that could not be measured, by reason.

    Args:
        options: metrics and networks.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.left_out: dict[str, list[str]] = {}
        self._loaded: dict[Any, Any] = {}

    @torch.no_grad()
    def measure(self, image_set: ImageSet) -> dict[str, Measurement]:
        """Metrics of a set by key, such as `diversity_dino`, `clip_score`, `frechet`, `psnr` or `colors`.

        Args:
            image_set: images in groups. Groups with `truths` also have PSNR, SSIM and LPIPS.
        """
        is_bundled = self.is_bundled(image_set)
        own: dict[str, Tensor] = {}  # features of this set's images, by network

        def features(spec: str) -> Tensor:
            if spec not in own:
                images = (image for group in image_set.groups for image in group.images)
                own[spec] = embed(self._network(spec, is_bundled), images, self.options.device)
            return own[spec]

        def parts(spec: str) -> Sequence[Tensor]:
            return features(spec).split([len(group.images) for group in image_set.groups])

        tasks: dict[str, Callable[[], Measurement | dict[str, Measurement]]] = {}
        for name, function in WITHIN_GROUPS.items():
            tasks |= {f"{name}_{spec}": partial(_within, function, parts, spec) for spec in self.options.features}
        tasks["clip_score"] = lambda: self._clip_scores(image_set, parts, is_bundled)
        tasks["aesthetic"] = lambda: self._aesthetic_scores(parts)
        for name, compare in TO_REFERENCE.items():
            tasks[name] = partial(self._compare, compare, image_set, features, is_bundled)
        records: list[dict[str, float]] = []  # of the groups with truths
        tasks |= {name: partial(self._reconstruction, name, image_set, records) for name in TO_TRUTH}
        tasks["truth"] = lambda: self._truth(image_set)
        results: dict[str, Measurement] = {}
        for key, task in tasks.items():
            if not self._is_wanted(key, image_set):
                continue
            try:
                found = task()
            except UserError as error:
                keys = self.left_out.setdefault(str(error), [])
                keys += [key] if key not in keys else []
                continue
            results |= found if isinstance(found, dict) else {key: found}
        return results

    def is_bundled(self, image_set: ImageSet) -> bool:
        """Whether a set is of the bundled world, so that its networks measure.

        Args:
            image_set: the set.
        """
        return image_set.is_bundled or self.options.is_bundled or self.options.reference == "bundled"

    def reference_features(self, image_set: ImageSet) -> str:
        """Name of the network in which a set is compared with the reference.

        Args:
            image_set: the set.
        """
        return self.options.reference_features or ("judge" if self.is_bundled(image_set) else "inception")

    def _is_wanted(self, key: str, image_set: ImageSet) -> bool:
        name = key if key in EVALUATION_METRICS else key.split("_")[0]
        if self.options.metrics is not None:
            return name in self.options.metrics
        if name in TO_REFERENCE:
            return self.options.reference is not None
        if name in TO_TRUTH:
            return any(group.truths is not None for group in image_set.groups)
        if name == "aesthetic":  # trained on photographs and paintings
            return not self.is_bundled(image_set)
        return name != "truth" or self.is_bundled(image_set)

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Call `make` once and cache the result, or the error, which is raised again."""
        if key not in self._loaded:
            try:
                self._loaded[key] = make()
            except UserError as error:
                self._loaded[key] = error
        if isinstance(self._loaded[key], UserError):
            raise self._loaded[key]
        return self._loaded[key]

    def _network(self, spec: str, is_bundled: bool) -> Callable[[Tensor], Tensor]:
        device = self.options.device
        if spec == "inception":
            return self._once(spec, lambda: load_inception(device))
        if spec == "judge":
            return self._judge().features
        return self._once((spec, is_bundled), lambda: load_features(spec, is_bundled, device))

    def _judge(self) -> ToyworldJudge:
        return self._once("judge", lambda: ToyworldJudge.bundled(self.options.device))

    def _clip_scores(
        self, image_set: ImageSet, parts: Callable[[str], Sequence[Tensor]], is_bundled: bool
    ) -> Measurement:
        if not image_set.prompts():
            raise UserError(
                f"{image_set.label!r} has no prompt; accepted: --prompt, or prompts.txt or prompts.json in the folder."
            )
        clip = self.options.clip
        model_id = str(data_path(BUNDLED["clip"])) if is_bundled and clip == "clip" else HUB_IDS.get(clip, clip)
        encode = self._once(("text", model_id), lambda: load_text_encoder(model_id, self.options.device))
        texts = dict(zip(image_set.prompts(), encode(image_set.prompts()).cpu(), strict=True))
        return _mean(
            clip_score(part, texts[group.prompt].expand_as(part)).mean()
            for group, part in zip(image_set.groups, parts(clip), strict=True)
            if group.prompt
        )

    def _aesthetic_scores(self, parts: Callable[[str], Sequence[Tensor]]) -> Measurement:
        head = self._once("aesthetic", lambda: load_aesthetic_head(self.options.aesthetic))
        return _mean(aesthetic_score(part, head).mean() for part in parts(AESTHETIC_CLIP))

    def _compare(
        self,
        compare: Callable[[Tensor, Tensor], float],
        image_set: ImageSet,
        features: Callable[[str], Tensor],
        is_bundled: bool,
    ) -> Measurement:
        spec = self.reference_features(image_set)
        network = self._network(spec, is_bundled)
        reference = self._reference(image_set, spec, is_bundled, network)
        return Measurement(compare(features(spec).flatten(1), reference.flatten(1)), [])

    def _reference(
        self, image_set: ImageSet, spec: str, is_bundled: bool, network: Callable[[Tensor], Tensor]
    ) -> Tensor:
        """Features of the reference (M, D)."""
        images = self.options.reference
        if images is None:
            raise UserError("--reference is missing; accepted: --reference FOLDER or --reference bundled.")
        if images != "bundled":
            if isinstance(images, str):
                images = ImageFiles(list_reference(Path(images), "--reference"), "--reference")
            return self._once(("reference", spec, is_bundled), lambda: embed(network, images, self.options.device))
        named = list(dict.fromkeys(named_attributes(prompt) for prompt in image_set.prompts())) or [(None, None)]
        count = max(1, REFERENCES // len(named))
        return torch.cat([self._renders(spec, network, count, *attributes) for attributes in named])

    def _renders(
        self, spec: str, network: Callable[[Tensor], Tensor], count: int, object_class: int | None, color: int | None
    ) -> Tensor:
        """Features of renders of a class and color."""

        def make() -> Tensor:
            class_name = None if object_class is None else CLASSES[object_class]
            color_name = None if color is None else COLORS[color]
            renders = render_scenes(choose_scenes(count, REFERENCE_SEED, class_name, color_name))
            return embed(network, renders, self.options.device)

        return self._once(("renders", spec, count, object_class, color), make)

    def _reconstruction(
        self, name: str, image_set: ImageSet, records: list[dict[str, float]]
    ) -> dict[str, Measurement]:
        """A metric of TO_TRUTH; with PSNR also that of the mean of the answers to each measurement.

        `records` keeps PSNR and SSIM of the groups from one call to the next.
        """
        groups = [group for group in image_set.groups if group.truths is not None]
        if not groups:
            raise UserError(f"{image_set.label!r} has no truths; accepted: --truth FOLDER.")
        if name == "lpips":
            network = self._once(name, lambda: load_lpips(self.options.device))
            found = [self._compare_with_truths(group, network) for group in groups]
        else:
            records += [] if records else [self._compare_with_truths(group) for group in groups]
            found = records
        keys = [name, "psnr_of_mean"] if name == "psnr" else [name]
        values = {key: [record[key] for record in found if key in record] for key in keys}
        return {key: _mean(numbers) for key, numbers in values.items() if numbers}

    def _compare_with_truths(self, group: Group, lpips: Any = None) -> dict[str, float]:
        """PSNR, SSIM and LPIPS of a group, means over its images."""
        truths = list(group.truths or ())
        if group.one_measurement:
            pairs = [(torch.stack(list(group.images)), truths[0])]
        else:
            pairs = [(image[None], truth) for image, truth in zip(group.images, truths, strict=True)]
        device = self.options.device
        record = mean_metrics(
            [answer_metrics(answers[None].to(device), truth[None].to(device), lpips)[0] for answers, truth in pairs]
        )
        if not group.one_measurement:
            del record["psnr_of_mean"]
        return record

    def _truth(self, image_set: ImageSet) -> dict[str, Measurement]:
        """Metrics by the judge of the bundled world."""
        judge, device = self._judge(), self.options.device
        if image_set.groups[0].camera is not None:
            images = torch.stack([torch.stack(list(group.images)) for group in image_set.groups], 1).to(device)
            azimuth, elevation = torch.tensor([group.camera for group in image_set.groups]).unbind(1)
            object_class, _ = named_attributes(image_set.groups[0].prompt or "")
            found = judge_objects(images, azimuth, elevation, judge, object_class)
            numbers = {key: value for key, value in found.items() if isinstance(value, int | float)}
            return {key: Measurement(float(value), []) for key, value in numbers.items()}
        values: dict[str, list[float]] = {}
        for group in image_set.groups:
            images = torch.cat([_as_judged(image[None]) for image in group.images]).to(device)
            for key, value in truth_metrics(images, judge, *named_attributes(group.prompt or "")).items():
                # Answers to a measurement are not samples of the whole world.
                if group.truths is None or not key.startswith("total_variation"):
                    values.setdefault(key, []).append(float(value))
        return {key: Measurement(sum(each) / len(each), each) for key, each in values.items()}


def _as_judged(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) resized as the judge itself resizes, so that images of different sizes can be joined."""
    return F.interpolate(images, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False, antialias=True)


def _within(function: Callable[[Tensor], Tensor], parts: Callable[[str], Sequence[Tensor]], spec: str) -> Measurement:
    """A metric of ensembles, for each group of two or more images."""
    groups = [part for part in parts(spec) if len(part) > 1]
    if not groups:
        raise UserError("no prompt has two images; accepted: several images of each prompt.")
    return _mean(function(part) for part in groups)


def _mean(values: Iterable[Tensor | float]) -> Measurement:
    numbers = [float(value) for value in values]
    return Measurement(sum(numbers) / len(numbers), numbers)
