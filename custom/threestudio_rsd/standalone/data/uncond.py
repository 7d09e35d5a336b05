"""`random-camera-datamodule`: random cameras around the origin for training, a circle of cameras for evaluation."""

import bisect
import math
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from ...errors import UserError, fits_memory, in_range, one_of, positive
from ..utils.base import Updateable
from ..utils.config import config_to_primitive, parse_structured
from ..utils.rays import look_at, orbit_positions, view_batch
from ..utils.registry import register

LIGHTS = ("dreamfusion", "magic3d")
# Condition on [lowest, highest] of each range, and its description for errors.
RANGES: dict[str, tuple[Callable[[float, float], bool], str]] = {
    "elevation_range": (lambda low, high: low >= -90 and high <= 90, "degrees from -90 to 90"),
    "azimuth_range": (lambda low, high: True, "degrees"),
    "camera_distance_range": (lambda low, high: low > 0, "distances above 0"),
    "fovy_range": (lambda low, high: low > 0 and high < 180, "degrees between 0 and 180"),
    "light_distance_range": (lambda low, high: low >= 0, "distances of at least 0"),
}
PERTURBATIONS = ("camera_perturb", "center_perturb", "up_perturb", "light_position_perturb")
RAY = 24  # bytes of the origin and the direction of a pixel's ray
COUNTS = ("eval_height", "eval_width", "n_val_views", "n_test_views")
# Open intervals. A camera straight above the object would have no upward direction.
EVALUATION_ANGLES = {"eval_elevation_deg": (-90, 90), "eval_fovy_deg": (0, 180)}


@dataclass
class RandomCameraDataModuleConfig:
    """Config of random cameras, with threestudio's keys and defaults. Distances are in world units."""

    height: Any = 64  # image height in training, pixels; a number, or a list with one for each stage
    width: Any = 64  # image width in training, pixels; a number, or a list with one for each stage
    batch_size: Any = 1  # views per step; a number, or a list with one for each stage
    resolution_milestones: list[int] = field(default_factory=list)  # steps at which stages 2, 3, ... begin
    eval_height: int = 512  # image height in evaluation, pixels
    eval_width: int = 512  # image width in evaluation, pixels
    eval_batch_size: int = 1  # accepted for threestudio's configs; evaluation renders one view at a time
    n_val_views: int = 1  # views of a validation
    n_test_views: int = 120  # views of a test
    elevation_range: tuple[float, float] = (-10, 90)  # angle above the horizontal plane, degrees
    azimuth_range: tuple[float, float] = (-180, 180)  # angle around the z axis, degrees
    camera_distance_range: tuple[float, float] = (1, 1.5)  # distance of cameras from the origin
    fovy_range: tuple[float, float] = (40, 70)  # vertical field of view, degrees
    camera_perturb: float = 0.1  # largest shift of a camera along each axis
    center_perturb: float = 0.2  # standard deviation of the point in the middle of the view, along each axis
    up_perturb: float = 0.02  # standard deviation of the (unit) upward direction, along each axis
    light_position_perturb: float = 1.0  # standard deviation of the light's shift from the camera; dreamfusion only
    light_distance_range: tuple[float, float] = (0.8, 1.5)  # distance of lights from the origin
    eval_elevation_deg: float = 15.0  # elevation in evaluation, degrees
    eval_camera_distance: float = 1.5  # distance of cameras from the origin in evaluation
    eval_fovy_deg: float = 70.0  # vertical field of view in evaluation, degrees
    light_sample_strategy: str = "dreamfusion"  # dreamfusion: around the camera; magic3d: within 60 degrees of it
    batch_uniform_azimuth: bool = True  # draw one azimuth in each of batch_size equal parts of the range
    progressive_until: int = 0  # step until which the angles' ranges grow from the front view; 0: full ranges
    rays_d_normalize: bool = True  # unit directions; false: their component along the camera's axis is 1


class RandomCameraIterableDataset(IterableDataset, Updateable):
    """Endless data set of training batches. `update_step` changes image size and ranges with the step.

    Args:
        cfg: `RandomCameraDataModuleConfig`.

    Raises:
        UserError: a value is impossible, also one for evaluation, or the stages of the keys differ in number.
    """

    def __init__(self, cfg: Any) -> None:
        super().__init__()
        self.cfg = cfg
        _check(cfg)
        stages = {name: _stages(name, cfg[name]) for name in ("height", "width", "batch_size")}
        self.heights, self.widths, self.batch_sizes = stages.values()
        milestones = list(cfg.resolution_milestones)
        n_stages = max(len(values) for values in stages.values())
        if n_stages > 1 and (len(milestones) != n_stages - 1 or milestones != sorted(milestones)):
            raise UserError(
                f"data.resolution_milestones={milestones} does not fit {n_stages} stages of height, width and "
                f"batch_size; accepted: {n_stages - 1} steps in ascending order."
            )
        for name, values in stages.items():
            if len(values) != n_stages:
                raise UserError(f"data.{name}={values} has {len(values)} stages; accepted: {n_stages}, as the others.")
        for height, width, n in zip(self.heights, self.widths, self.batch_sizes, strict=True):
            fits_memory("data.batch_size", f"{n} with images of {width} x {height} pixels", n * height * width * RAY)
        self.milestones = milestones if n_stages > 1 else []
        self.update_step(0, 0)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Set image size, number of views and ranges of the angles for a step."""
        stage = bisect.bisect_right(self.milestones, global_step)
        self.height, self.width = self.heights[stage], self.widths[stage]
        self.batch_size = self.batch_sizes[stage]
        share = min(1.0, global_step / (self.cfg.progressive_until + 1)) if self.cfg.progressive_until > 0 else 1.0
        front = {"elevation_range": self.cfg.eval_elevation_deg, "azimuth_range": 0.0}
        self.elevation_range, self.azimuth_range = (
            [start + share * (bound - start) for bound in self.cfg[name]] for name, start in front.items()
        )

    def __iter__(self) -> Iterator[dict]:
        while True:
            yield {}

    def collate(self, batch: Any) -> dict[str, Any]:
        """Draw the cameras of one step; `batch` is ignored."""
        return self.draw(self.batch_size)

    def draw(self, n: int) -> dict[str, Any]:
        """Draw random cameras, with random numbers in threestudio's order.

        Args:
            n: number of cameras B.

        Returns:
            Result of `view_batch`, camera_positions, light_positions (B, 3), elevation, azimuth (degrees, before
            perturbation), camera_distances (B,), height and width.
        """
        cfg = self.cfg
        elevation = self._elevations(n)
        place = torch.rand(n)
        if cfg.batch_uniform_azimuth:
            place = (place + torch.arange(n)) / n
        azimuth = _between(self.azimuth_range, place)
        distances = _between(cfg.camera_distance_range, torch.rand(n))
        positions = orbit_positions(elevation.deg2rad(), azimuth.deg2rad(), distances)
        positions = positions + cfg.camera_perturb * (2 * torch.rand(n, 3) - 1)
        targets = cfg.center_perturb * torch.randn(n, 3)
        ups = torch.tensor([0.0, 0.0, 1.0]) + cfg.up_perturb * torch.randn(n, 3)
        fovy = _between(cfg.fovy_range, torch.rand(n)).deg2rad()
        light_distances = _between(cfg.light_distance_range, torch.rand(n))
        views = view_batch(look_at(positions, targets, ups), fovy, self.height, self.width, cfg.rays_d_normalize)
        return views | {
            "camera_positions": positions,
            "light_positions": self._lights(positions, light_distances),
            "elevation": elevation,
            "azimuth": azimuth,
            "camera_distances": distances,
            "height": self.height,
            "width": self.width,
        }

    def _elevations(self, n: int) -> Tensor:
        """Draw elevations (n,) in degrees: with probability 1/2 uniform in angle, otherwise uniform on the sphere."""
        low, high = self.elevation_range
        uniform_in_angle = random.random() < 0.5
        place = torch.rand(n)
        if uniform_in_angle:
            return _between((low, high), place)
        heights = (math.sin(math.radians(low)), math.sin(math.radians(high)))
        return _between(heights, place).asin().rad2deg()

    def _lights(self, positions: Tensor, distances: Tensor) -> Tensor:
        """Draw positions (B, 3) of lights for cameras at positions (B, 3), at distances (B,) from the origin."""
        if self.cfg.light_sample_strategy == "dreamfusion":
            scattered = positions + self.cfg.light_position_perturb * torch.randn(len(positions), 3)
            return distances[:, None] * functional.normalize(scattered, dim=-1)
        outward = functional.normalize(positions, dim=-1)
        across = torch.stack([outward[:, 1], -outward[:, 0], torch.zeros(len(outward))], dim=-1)
        across = functional.normalize(across, dim=-1)
        third = functional.normalize(torch.linalg.cross(outward, across), dim=-1)
        azimuth = (2 * torch.rand(len(positions)) - 1) * math.pi
        elevation = math.pi / 6 + math.pi / 3 * torch.rand(len(positions))  # within 60 degrees of the camera
        local = orbit_positions(elevation, azimuth, distances)
        return torch.einsum("bij,bj->bi", torch.stack([across, third, outward], dim=-1), local)


class RandomCameraDataset(Dataset):
    """Views of an evaluation, on a circle around the object.

    Args:
        cfg: `RandomCameraDataModuleConfig`.
        split: `val`, with azimuths from 0 to below 360 degrees, or `test`, with azimuths from 0 to 360 degrees.
    """

    def __init__(self, cfg: Any, split: str) -> None:
        super().__init__()
        self.cfg = cfg
        self.split = split
        self.n_views = cfg.n_val_views if split == "val" else cfg.n_test_views
        steps = self.n_views + 1 if split == "val" else self.n_views
        azimuth = torch.linspace(0, 360.0, steps)[: self.n_views]
        elevation = torch.full_like(azimuth, cfg.eval_elevation_deg)
        distances = torch.full_like(azimuth, cfg.eval_camera_distance)
        positions = orbit_positions(elevation.deg2rad(), azimuth.deg2rad(), distances)
        c2w = look_at(positions, torch.zeros_like(positions), torch.tensor([[0.0, 0.0, 1.0]]).expand_as(positions))
        fovy = torch.full_like(azimuth, cfg.eval_fovy_deg).deg2rad()
        self.views = view_batch(c2w, fovy, cfg.eval_height, cfg.eval_width, cfg.rays_d_normalize) | {
            "camera_positions": positions,
            "light_positions": positions,
            "elevation": elevation,
            "azimuth": azimuth,
            "camera_distances": distances,
        }

    def __len__(self) -> int:
        return self.n_views

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"index": index} | {name: value[index] for name, value in self.views.items()}

    def collate(self, batch: list[dict[str, Any]]) -> dict[str, Any]:
        """Join views to a batch, with height and width."""
        return default_collate(batch) | {"height": self.cfg.eval_height, "width": self.cfg.eval_width}


@register("random-camera-datamodule")
class RandomCameraDataModule(pl.LightningDataModule):
    """Random cameras for training, and a circle of cameras around the object for evaluation.

    Args:
        cfg: values of `RandomCameraDataModuleConfig`; others have their defaults.

    Raises:
        UserError: a config value is impossible.
    """

    def __init__(self, cfg: Any = None) -> None:
        super().__init__()
        self.cfg = parse_structured(RandomCameraDataModuleConfig, cfg)
        RandomCameraIterableDataset(self.cfg)  # for its checks, before the run writes anything

    def setup(self, stage: str | None = None) -> None:
        if stage in (None, "fit"):
            self.train_dataset = RandomCameraIterableDataset(self.cfg)
        if stage in (None, "fit", "validate"):
            self.val_dataset = RandomCameraDataset(self.cfg, "val")
        if stage in (None, "test", "predict"):
            self.test_dataset = RandomCameraDataset(self.cfg, "test")

    def train_dataloader(self) -> DataLoader:
        return self.general_loader(self.train_dataset, None, self.train_dataset.collate)

    def val_dataloader(self) -> DataLoader:
        return self.general_loader(self.val_dataset, 1, self.val_dataset.collate)

    def test_dataloader(self) -> DataLoader:
        return self.general_loader(self.test_dataset, 1, self.test_dataset.collate)

    predict_dataloader = test_dataloader

    def general_loader(self, dataset: Any, batch_size: int | None, collate_fn: Any = None) -> DataLoader:
        """Make a data loader without workers, because `update_step` changes the data set between batches.

        Args:
            dataset: data set of this module.
            batch_size: items per batch; None: the items are batches.
            collate_fn: function from a list of items, or a batch, to a batch.
        """
        return DataLoader(dataset, num_workers=0, batch_size=batch_size, collate_fn=collate_fn)


def _check(cfg: Any) -> None:
    one_of("data.light_sample_strategy", cfg.light_sample_strategy, LIGHTS)
    for name, (keeps, accepted) in RANGES.items():
        bounds = list(cfg[name])
        is_range = len(bounds) == 2 and all(map(math.isfinite, bounds)) and bounds[0] <= bounds[1]
        if not (is_range and keeps(*bounds)):
            raise UserError(f"data.{name}={bounds} is impossible; accepted: [lowest, highest], {accepted}.")
    for name in PERTURBATIONS:
        in_range(f"data.{name}", cfg[name], 0.0)
    for name in COUNTS:
        in_range(f"data.{name}", cfg[name], 1)
    for name in ("n_val_views", "n_test_views"):
        size = f"{cfg[name]} with images of {cfg.eval_width} x {cfg.eval_height} pixels"
        fits_memory(f"data.{name}", size, cfg[name] * cfg.eval_height * cfg.eval_width * RAY)
    for name, (low, high) in EVALUATION_ANGLES.items():
        if not low < cfg[name] < high:
            raise UserError(f"data.{name}={cfg[name]} is impossible; accepted: a number between {low} and {high}.")
    positive("data.eval_camera_distance", cfg.eval_camera_distance)


def _stages(name: str, value: Any) -> list[int]:
    """Numbers of all stages, from a number or a list in the config."""
    values = config_to_primitive(value) if not isinstance(value, int) else [value]
    if not isinstance(values, list) or not values or not all(_is_count(number) for number in values):
        raise UserError(f"data.{name}={value!r} is impossible; accepted: an integer of at least 1, or a list of them.")
    return list(values)


def _is_count(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number >= 1


def _between(bounds: Any, place: Tensor) -> Tensor:
    low, high = bounds
    return low + place * (high - low)
