"""Every metric of a set of images, with networks that are loaded once and left out where they cannot be had."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError
from ..files import data_path
from ..metrics import diversity, load_lpips, lpips_distance, pairwise_similarity, psnr, ssim, vendi_score
from ..metrics.aesthetic import CLIP as AESTHETIC_CLIP
from ..metrics.aesthetic import HEAD, aesthetic_score, load_aesthetic_head
from ..metrics.clip_score import clip_score, load_text_encoder
from ..metrics.distribution import coverage, frechet_distance, kernel_inception_distance, load_inception, recall
from ..metrics.statistics import estimate
from ..repulsion import load_features
from ..repulsion.features import BUNDLED, HUB_IDS
from ..toyworld import ToyworldJudge, judge_objects, truth_metrics
from ..toyworld.captions import named_attributes
from ..toyworld.judge import IMAGE_SIZE
from ..toyworld.render import render_scenes
from ..toyworld.world import CLASSES, COLORS, choose_scenes
from .image_sets import Group, ImageFiles, ImageSet, list_reference

WITHIN_GROUPS = {"similarity": pairwise_similarity, "diversity": diversity, "vendi": vendi_score}
TO_REFERENCE = {
    "frechet": frechet_distance,
    "kid": kernel_inception_distance,
    "recall": recall,
    "coverage": coverage,
}
TO_TRUTH = ("psnr", "ssim", "lpips")
METRICS = (*WITHIN_GROUPS, "clip_score", "aesthetic", *TO_REFERENCE, *TO_TRUTH, "truth")
BATCH = 32  # images in a network at once
REFERENCES = 500  # renders of the bundled world for a set's prompts
REFERENCE_SEED = 80_000  # of the renders; no training used it


@dataclass
class Options:
    """What is measured with what.

    Attributes:
        metrics: of METRICS; None: all that the images allow.
        features: networks of similarity, diversity and Vendi score, as `load_features` takes them.
        clip: of the CLIP score, a name, folder or hub id.
        aesthetic: weights of the aesthetic head.
        reference: folder of images, or `bundled`, renders of each set's prompts; None: no comparison.
        reference_features: network of the comparison: inception, judge or as `load_features` takes them; None: judge on
            the bundled world, else inception.
        is_bundled: take every image as one of the bundled world.
        device: where the networks run.
    """

    metrics: Sequence[str] | None = None
    features: Sequence[str] = ("dino", "clip")
    clip: str = "clip"
    aesthetic: str = HEAD
    reference: str | None = None
    reference_features: str | None = None
    is_bundled: bool = False
    device: str = "cpu"


@dataclass
class Measurement:
    """One number of a set.

    Attributes:
        mean: over the groups.
        values: of each group that has one; empty for what is measured on all images together.
    """

    mean: float
    values: list[float]

    def record(self) -> dict[str, Any]:
        """For JSON; with a 95 % bootstrap interval of the mean where there are several values."""
        result: dict[str, Any] = {"mean": self.mean}
        if self.values:
            result["values"] = self.values
        if len(self.values) > 1:
            result["interval"] = estimate(self.values).interval
        return result


class Instruments:
    """Measures sets of images.

    What cannot be measured is left out; `left_out` says by reason which metrics that are.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.left_out: dict[str, list[str]] = {}
        self._loaded: dict[Any, Any] = {}

    @torch.no_grad()
    def measure(self, image_set: ImageSet) -> dict[str, Measurement]:
        """Every metric by name: `diversity_NETWORK` and so on, `clip_score`, `frechet`, `psnr`, `colors`, ..."""
        is_bundled = self.is_bundled(image_set)
        own: dict[str, Tensor] = {}  # features of this set's images, by network

        def features(spec: str) -> Tensor:
            if spec not in own:
                images = (image for group in image_set.groups for image in group.images)
                own[spec] = embed(self._network(spec, is_bundled), images, self.options.device)
            return own[spec]

        def parts(spec: str) -> Sequence[Tensor]:
            return features(spec).split([len(group.images) for group in image_set.groups])

        tasks: list[tuple[str, Callable[[], Any]]] = []
        for name, function in WITHIN_GROUPS.items():
            tasks += [(f"{name}_{spec}", partial(_within, function, parts, spec)) for spec in self.options.features]
        tasks.append(("clip_score", lambda: self._clip_scores(image_set, parts, is_bundled)))
        tasks.append(("aesthetic", lambda: self._aesthetic_scores(parts)))
        for name, compare in TO_REFERENCE.items():
            tasks.append((name, partial(self._compare, compare, image_set, features, is_bundled)))
        tasks += [(name, partial(self._reconstruction, name, image_set)) for name in TO_TRUTH]
        tasks.append(("truth", lambda: self._truth(image_set)))
        results: dict[str, Measurement] = {}
        for key, task in tasks:
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
        """Whether a set is of the bundled world, whose networks then measure it."""
        return image_set.is_bundled or self.options.is_bundled or self.options.reference == "bundled"

    def reference_features(self, image_set: ImageSet) -> str:
        """Name of the network in which the set is compared with the reference."""
        return self.options.reference_features or ("judge" if self.is_bundled(image_set) else "inception")

    def _is_wanted(self, key: str, image_set: ImageSet) -> bool:
        name = key if key in METRICS else key.split("_")[0]
        if self.options.metrics is not None:
            return name in self.options.metrics
        if name in TO_REFERENCE:
            return self.options.reference is not None
        if name in TO_TRUTH:
            return any(group.truths is not None for group in image_set.groups)
        if name == "aesthetic":  # knows photographs and paintings
            return not self.is_bundled(image_set)
        return name != "truth" or self.is_bundled(image_set)

    def _once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Make a thing once; what failed fails again in the same words."""
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
        folder = self.options.reference
        if folder is None:
            raise UserError("there is nothing to compare with; accepted: --reference FOLDER or --reference bundled.")
        if folder != "bundled":
            images = ImageFiles(list_reference(Path(folder), "--reference"), "--reference")
            return self._once(("reference", spec, is_bundled), lambda: embed(network, images, self.options.device))
        named = list(dict.fromkeys(named_attributes(prompt) for prompt in image_set.prompts())) or [(None, None)]
        count = max(1, REFERENCES // len(named))
        return torch.cat([self._renders(spec, network, count, *attributes) for attributes in named])

    def _renders(
        self, spec: str, network: Callable[[Tensor], Tensor], count: int, object_class: int | None, color: int | None
    ) -> Tensor:
        """Features of renders that show what a prompt names."""

        def make() -> Tensor:
            class_name = None if object_class is None else CLASSES[object_class]
            color_name = None if color is None else COLORS[color]
            renders = render_scenes(choose_scenes(count, REFERENCE_SEED, class_name, color_name))
            return embed(network, renders, self.options.device)

        return self._once(("renders", spec, count, object_class, color), make)

    def _reconstruction(self, name: str, image_set: ImageSet) -> Measurement:
        groups = [group for group in image_set.groups if group.truths is not None]
        if not groups:
            raise UserError(f"{image_set.label!r} has no truths; accepted: --truth FOLDER.")
        device = self.options.device
        measure: Callable[[Tensor, Tensor], Tensor] = psnr if name == "psnr" else ssim
        if name == "lpips":
            measure = partial(lpips_distance, network=self._once("lpips", lambda: load_lpips(device)))

        def of_group(group: Group) -> float:
            pairs = zip(group.images, group.truths or (), strict=True)
            values = [float(measure(image[None].to(device), truth[None].to(device))) for image, truth in pairs]
            return sum(values) / len(values)

        return _mean(of_group(group) for group in groups)

    def _truth(self, image_set: ImageSet) -> dict[str, Measurement]:
        """What the bundled world's judge sees."""
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
                # Answers to a measurement are no samples of the world.
                if group.truths is None or not key.startswith("total_variation"):
                    values.setdefault(key, []).append(float(value))
        return {key: Measurement(sum(each) / len(each), each) for key, each in values.items()}


def embed(network: Callable[[Tensor], Tensor], images: Iterable[Tensor], device: str = "cpu") -> Tensor:
    """Features (N, D) on the CPU of images (3, H, W) of any sizes, in their order; the network resizes.

    Raises:
        UserError: a network whose features depend on the size of images that differ in it.
    """
    found = [network(torch.stack(batch).to(device)).flatten(1).float().cpu() for batch in _batches(images)]
    if len({features.shape[1] for features in found}) > 1:
        raise UserError("the images differ in size, and this network does not resize; accepted: images of one size.")
    return torch.cat(found)


def _batches(images: Iterable[Tensor]) -> Iterator[list[Tensor]]:
    """Up to BATCH neighbors of one shape at a time."""
    for _, same in groupby(images, key=lambda image: image.shape):
        batch: list[Tensor] = []
        for image in same:
            batch.append(image)
            if len(batch) == BATCH:
                yield batch
                batch = []
        if batch:
            yield batch


def _as_judged(images: Tensor) -> Tensor:
    """Images (N, 3, H, W) in the judge's size, which its own resizing would give too."""
    return F.interpolate(images, (IMAGE_SIZE, IMAGE_SIZE), mode="bilinear", align_corners=False, antialias=True)


def _within(function: Callable[[Tensor], Tensor], parts: Callable[[str], Sequence[Tensor]], spec: str) -> Measurement:
    """A measure of ensembles, for each group of two images or more."""
    groups = [part for part in parts(spec) if len(part) > 1]
    if not groups:
        raise UserError("no prompt has two images; accepted: several images of each prompt.")
    return _mean(function(part) for part in groups)


def _mean(values: Iterable[Tensor | float]) -> Measurement:
    numbers = [float(value) for value in values]
    return Measurement(sum(numbers) / len(numbers), numbers)
