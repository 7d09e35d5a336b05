"""Encodings of points in the unit cube in plain PyTorch, with names and keys of tiny-cuda-nn and threestudio."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ....errors import UserError, fits_memory, in_range
from ...utils.base import Updateable
from ...utils.config import parse_structured

MOST_LEVELS, LARGEST_TABLE = 64, 40
LARGEST_RESOLUTION = 31.0  # binary logarithm of the vertices along an axis; their products must fit 64 bits
MOST_OCTAVES = 128  # 2^127 is the largest power that single precision has
FLOAT = 4  # bytes
PRIMES = (1, 2654435761, 805459861)  # factor of each axis in the spatial hash (Müller et al., 2022; eq. 4)
INITIAL_FEATURE = 1e-4  # initial features are uniform in [-this, this] (Müller et al., 2022; section 4)


@dataclass
class EncodingConfig:
    """Keys of all encodings."""

    otype: str = ""  # name of the encoding; tiny-cuda-nn
    include_xyz: bool = False  # prepend the points, scaled to [-1, 1], to the encoding; threestudio


@dataclass
class HashGridConfig(EncodingConfig):
    """Config of `HashGrid`, with keys and defaults of tiny-cuda-nn."""

    n_levels: int = 16  # number of grids
    n_features_per_level: int = 2  # features of an entry
    log2_hashmap_size: int = 19  # binary logarithm of the largest number of entries of a level
    base_resolution: int = 16  # vertices along an axis of the coarsest level
    per_level_scale: float = 2.0  # ratio of the resolutions of successive levels


@dataclass
class ProgressiveBandHashGridConfig(HashGridConfig):
    """Config of `ProgressiveBandHashGrid`, with keys of threestudio, which has no defaults for them."""

    start_level: int = 16  # number of levels in use at the start
    start_step: int = 0  # step after which levels are added
    update_steps: int = 1  # steps until the next level is added


@dataclass
class FrequencyConfig(EncodingConfig):
    """Config of `Frequency`, with keys of tiny-cuda-nn."""

    n_frequencies: int = 12  # number of octaves; tiny-cuda-nn


@dataclass
class ProgressiveBandFrequencyConfig(FrequencyConfig):
    """Config of `ProgressiveBandFrequency`, with keys of threestudio."""

    n_masking_step: int = 0  # step at which all octaves have faded in; 0: all from the start; threestudio


@dataclass
class Level:
    """One grid of a hash grid."""

    scale: float  # number of cells along an axis of the unit cube
    resolution: int  # number of vertices along an axis
    size: int  # number of entries in the table

    def strides(self, n_dims: int) -> tuple[int, ...]:
        """Factors of a vertex's coordinates in its index in the table."""
        return PRIMES[:n_dims] if self.hashed(n_dims) else tuple(self.resolution**axis for axis in range(n_dims))

    def hashed(self, n_dims: int) -> bool:
        """Whether the grid has more vertices than its table has entries."""
        return self.resolution**n_dims > self.size


class HashGrid(nn.Module):
    """Multi-resolution hash encoding (Müller et al., 2022) with linear interpolation.

    A coarse level has one table entry per vertex; in finer levels, vertices share entries by a spatial hash. Grids and
    tables have tiny-cuda-nn's layout, so that its trained tables can be loaded.

    Args:
        n_input_dims: number of coordinates D, 2 or 3.
        config: values of `HashGridConfig`.

    Raises:
        UserError: a config value or the number of coordinates is impossible.
    """

    config_class: type[HashGridConfig] = HashGridConfig

    def __init__(self, n_input_dims: int, config: Any) -> None:
        super().__init__()
        if n_input_dims not in (2, 3):
            raise UserError(f"A hash grid of {n_input_dims} inputs is impossible; accepted: 2 or 3.")
        self.cfg = parse_structured(self.config_class, config)
        for key in ("n_features_per_level", "base_resolution"):
            in_range(key, self.cfg[key], 1)
        in_range("n_levels", self.cfg.n_levels, 1, MOST_LEVELS)
        in_range("log2_hashmap_size", self.cfg.log2_hashmap_size, 1, LARGEST_TABLE)
        in_range("per_level_scale", self.cfg.per_level_scale, 1.0)
        finest = math.log2(self.cfg.base_resolution) + (self.cfg.n_levels - 1) * math.log2(self.cfg.per_level_scale)
        in_range("log2(base_resolution * per_level_scale ** (n_levels - 1))", finest, 0.0, LARGEST_RESOLUTION)
        self.n_input_dims = n_input_dims
        self.n_levels = self.cfg.n_levels
        self.n_features_per_level = self.cfg.n_features_per_level
        self.n_output_dims = self.n_levels * self.n_features_per_level
        self.levels = _levels(self.cfg, n_input_dims)
        n_values = sum(level.size for level in self.levels) * self.n_features_per_level
        fits_memory("n_features_per_level", self.n_features_per_level, n_values * FLOAT)
        initial = torch.empty(n_values).uniform_(-INITIAL_FEATURE, INITIAL_FEATURE)
        # Name and layout as in threestudio's checkpoints: one vector, level by level, an entry's features together.
        self.encoding = nn.ParameterDict({"params": initial})

    def forward(self, points: Tensor) -> Tensor:
        """Map (N, D) in [0, 1] to (N, n_levels * n_features_per_level)."""
        return self.encode(points, self.n_levels)

    def encode(self, points: Tensor, n_levels: int) -> Tensor:
        """Encode points (N, D) with the first `n_levels` levels; the features of the others are 0."""
        values = self.encoding["params"]
        # Points are the last axis everywhere, which is faster on CPUs (vector instructions).
        coordinates = points.to(values.dtype).clamp(0, 1).t().contiguous()
        tables = values.split([level.size * self.n_features_per_level for level in self.levels])
        features = [
            self._interpolate(level, table, coordinates)
            for level, table in zip(self.levels[:n_levels], tables[:n_levels], strict=True)
        ]
        if n_levels < self.n_levels:
            n_empty = (self.n_levels - n_levels) * self.n_features_per_level
            features.append(coordinates.new_zeros(n_empty, coordinates.shape[1]))
        return torch.cat(features).t()

    def _interpolate(self, level: Level, table: Tensor, coordinates: Tensor) -> Tensor:
        """Features (F, N) of one level at points (D, N)."""
        # Half a cell of offset keeps the vertices of different levels apart (Müller et al., 2022; appendix A).
        positions = coordinates * level.scale + 0.5
        cells = positions.detach().floor()
        fractions = positions - cells
        weights = _corner_weights(torch.stack([1 - fractions, fractions]))
        lower = cells.long()
        entries = _corner_entries(torch.stack([lower, lower + 1]), level)
        by_feature = table.view(level.size, self.n_features_per_level).t().contiguous()
        index = entries.flatten().expand(self.n_features_per_level, -1)
        # The backward of gather, scatter_add, is several times faster on a CPU than that of an embedding.
        corners = by_feature.gather(1, index).view(self.n_features_per_level, *entries.shape)
        return (corners * weights).sum(1)


class ProgressiveBandHashGrid(HashGrid, Updateable):
    """Hash grid whose finer levels are added during training; before that, their features are 0.

    Args:
        n_input_dims: number of coordinates D, 2 or 3.
        config: values of `ProgressiveBandHashGridConfig`.
    """

    config_class = ProgressiveBandHashGridConfig

    def __init__(self, n_input_dims: int, config: Any) -> None:
        super().__init__(n_input_dims, config)
        in_range("update_steps", self.cfg.update_steps, 1)
        self.update_step(0, 0)

    def forward(self, points: Tensor) -> Tensor:
        return self.encode(points, self.current_level)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Set the number of levels for a step."""
        added = max(global_step - self.cfg.start_step, 0) // self.cfg.update_steps
        self.current_level = min(self.cfg.start_level + added, self.n_levels)


class Frequency(nn.Module):
    """Sine and cosine of pi 2^k x (Mildenhall et al., 2020; eq. 4), axis by axis, as in tiny-cuda-nn.

    Args:
        n_input_dims: number of coordinates D.
        config: values of `FrequencyConfig`.

    Raises:
        UserError: a config value is impossible.
    """

    bands: Tensor  # factors of the coordinates, (n_frequencies,)

    def __init__(self, n_input_dims: int, config: Any) -> None:
        super().__init__()
        self.cfg = parse_structured(FrequencyConfig, config)
        in_range("n_frequencies", self.cfg.n_frequencies, 1, MOST_OCTAVES)
        self.n_input_dims = n_input_dims
        self.n_output_dims = n_input_dims * 2 * self.cfg.n_frequencies
        self.register_buffer("bands", math.pi * _octaves(self.cfg.n_frequencies), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Map (N, D) to (N, D * 2 * n_frequencies)."""
        angles = points[..., None] * self.bands
        return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


class ProgressiveBandFrequency(nn.Module, Updateable):
    """Sine and cosine of 2^k x, octave by octave; octaves fade in during training (Park et al., 2021; eq. 8).

    Args:
        n_input_dims: number of coordinates D.
        config: values of `ProgressiveBandFrequencyConfig`.

    Raises:
        UserError: a config value is impossible.
    """

    bands: Tensor  # factors of the coordinates, (n_frequencies,)
    mask: Tensor  # weights of the octaves in [0, 1], (n_frequencies,)

    def __init__(self, n_input_dims: int, config: Any) -> None:
        super().__init__()
        self.cfg = parse_structured(ProgressiveBandFrequencyConfig, config)
        in_range("n_frequencies", self.cfg.n_frequencies, 1, MOST_OCTAVES)
        self.n_input_dims = n_input_dims
        self.n_output_dims = n_input_dims * 2 * self.cfg.n_frequencies
        self.register_buffer("bands", _octaves(self.cfg.n_frequencies), persistent=False)
        self.register_buffer("mask", torch.ones(self.cfg.n_frequencies), persistent=False)

    def forward(self, points: Tensor) -> Tensor:
        """Map (N, D) to (N, n_frequencies * 2 * D)."""
        angles = points[:, None] * self.bands[:, None]
        waves = torch.stack([angles.sin(), angles.cos()], dim=2) * self.mask[:, None, None]
        return waves.flatten(1)

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Set the weights of the octaves for a step."""
        if self.cfg.n_masking_step > 0:
            n = self.cfg.n_frequencies
            begun = (global_step / self.cfg.n_masking_step * n - torch.arange(n)).clamp(0, 1)
            self.mask = ((1 - (math.pi * begun).cos()) / 2).to(self.mask)


class CompositeEncoding(nn.Module, Updateable):
    """Encoding that optionally starts with the points themselves, scaled from [0, 1] to [-1, 1].

    Args:
        encoding: one of the encodings above.
        include_xyz: prepend the points.
    """

    def __init__(self, encoding: Any, include_xyz: bool = False) -> None:
        super().__init__()
        self.encoding = encoding
        self.include_xyz = include_xyz
        self.n_input_dims: int = encoding.n_input_dims
        self.n_output_dims: int = encoding.n_output_dims + (self.n_input_dims if include_xyz else 0)

    def forward(self, points: Tensor) -> Tensor:
        """Map (N, D) in [0, 1] to (N, n_output_dims)."""
        encoded = self.encoding(points)
        return torch.cat([points * 2 - 1, encoded], dim=-1) if self.include_xyz else encoded


def _levels(cfg: Any, n_dims: int) -> list[Level]:
    # Single precision as in tiny-cuda-nn, whose rounding decides the resolutions.
    growth = torch.tensor(cfg.per_level_scale, dtype=torch.float32).log2()
    scales = (torch.arange(cfg.n_levels) * growth).exp2() * cfg.base_resolution - 1
    levels = []
    for scale in scales.tolist():
        resolution = math.ceil(scale) + 1
        size = math.ceil(resolution**n_dims / 8) * 8
        levels.append(Level(scale, resolution, min(size, 2**cfg.log2_hashmap_size)))
    return levels


def _corner_weights(parts: Tensor) -> Tensor:
    """Interpolation weights of the corners (2^D, N), from those of the two sides along each axis (2, D, N)."""
    weights = parts[:, 0]
    for axis in range(1, parts.shape[1]):
        weights = (parts[:, axis, None] * weights).flatten(0, 1)
    return weights


def _corner_entries(vertices: Tensor, level: Level) -> Tensor:
    """Table indices of the corners (2^D, N), from the vertex coordinates of the two sides (2, D, N)."""
    n_dims = vertices.shape[1]
    hashed = level.hashed(n_dims)
    terms = [vertices[:, axis] * stride for axis, stride in enumerate(level.strides(n_dims))]
    entries = terms[0]
    for term in terms[1:]:
        entries = (term[:, None] ^ entries if hashed else term[:, None] + entries).flatten(0, 1)
    if hashed:
        return entries & (level.size - 1)  # the remainder, because hashed tables have 2^n entries
    # The offset of half a cell can exceed the table by one vertex, which wraps around.
    return torch.where(entries < level.size, entries, entries - level.size)


def _octaves(n: int) -> Tensor:
    return 2.0 ** torch.arange(n)
