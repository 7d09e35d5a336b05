"""`implicit-volume`: density and features of points, from an encoding and small networks."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import UserError, fits_memory, in_range, one_of, positive
from ...utils.base import BaseModule
from ...utils.config import key_of
from ...utils.messages import warn
from ...utils.registry import register
from ..isosurface import grid_points, marching_cubes
from ..mesh import Mesh
from ..networks import get_encoding, get_mlp
from ..networks.activations import get_activation

ISOSURFACE_METHODS = ("mt", "mc-cpu")  # threestudio's marching tetrahedra and marching cubes
ISOSURFACE_CHUNK = 2**17  # points evaluated at once with isosurface_chunk=0
POINT = 16  # bytes of a point and its field in single precision
EMPTY = 1e-5  # field below which points are left out of the automatic threshold; threestudio
COARSE_MARGIN = 0.1  # margin around the coarse mesh for the fine one, as a share of its extent; threestudio
NORMAL_TYPES = ("analytic", "finite_difference", "finite_difference_laplacian", "pred")
DENSITY_BLOBS = ("blob_dreamfusion", "blob_magic3d")


class BaseImplicitGeometry(BaseModule):
    """Base class of fields in the cube [-radius, radius]^3, and the extraction of their surfaces."""

    @dataclass
    class Config(BaseModule.Config):
        # threestudio's keys and defaults
        radius: float = 1.0  # half the edge of the cube, world units
        isosurface: bool = True  # allow the extraction of a surface
        isosurface_method: str = "mt"  # mt or mc-cpu; both are marching cubes on the CPU here
        isosurface_resolution: int = 128  # points of the grid along an axis
        isosurface_threshold: Any = 0.0  # field at the surface, or auto: its mean over points that are not empty
        isosurface_chunk: int = 0  # points evaluated at once; 0: ISOSURFACE_CHUNK
        isosurface_coarse_to_fine: bool = True  # repeat the extraction in the bounding box of the first surface
        isosurface_deformable_grid: bool = False  # accepted for threestudio's configs, without effect here
        isosurface_remove_outliers: bool = True  # remove small connected pieces
        isosurface_outlier_n_faces_threshold: int | float = 0.01  # faces of a kept piece; float: share of the largest

    cfg: Config
    bbox: Tensor  # lower and upper corner of the cube, (2, 3)
    unbounded = False  # threestudio's attribute: the field does not extend beyond the cube

    def configure(self) -> None:
        one_of("isosurface_method", self.cfg.isosurface_method, ISOSURFACE_METHODS)
        threshold = self.cfg.isosurface_threshold
        if threshold != "auto" and not _is_number(threshold):
            raise UserError(f"isosurface_threshold={threshold!r} is impossible; accepted: a number or auto.")
        positive("radius", self.cfg.radius)
        n = self.cfg.isosurface_resolution
        in_range("isosurface_resolution", n, 2)
        fits_memory("isosurface_resolution", n, n**3 * POINT)
        in_range("isosurface_chunk", self.cfg.isosurface_chunk, 0)
        corner = torch.full((3,), float(self.cfg.radius))
        self.register_buffer("bbox", torch.stack([-corner, corner]))

    def forward_field(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """For subclasses: return the field (*N, 1) at points (*N, 3), and their deformation or None."""
        raise NotImplementedError

    def forward_level(self, field: Tensor, threshold: float) -> Tensor:
        """For subclasses: return a function of the field that is 0 on the surface and negative inside."""
        raise NotImplementedError

    @torch.no_grad()
    def isosurface(self) -> Mesh:
        """Extract the surface of the field.

        Raises:
            UserError: there is no surface at the threshold, or `isosurface` is off in the config.
        """
        if not self.cfg.isosurface:
            raise UserError(
                f"isosurface=False: this geometry has no surface; set {key_of(self.cfg, 'isosurface')}=true."
            )
        if self.cfg.isosurface_deformable_grid:
            warn(f"isosurface_deformable_grid is ignored: {type(self).__name__} has no deformation.")
        mesh = self._isosurface(self.bbox)
        if self.cfg.isosurface_coarse_to_fine:
            low, high = mesh.v_pos.amin(dim=0), mesh.v_pos.amax(dim=0)
            margin = COARSE_MARGIN * (high - low)
            mesh = self._isosurface(torch.stack([(low - margin).max(self.bbox[0]), (high + margin).min(self.bbox[1])]))
        return mesh

    def _isosurface(self, box: Tensor) -> Mesh:
        resolution = self.cfg.isosurface_resolution
        chunks = grid_points(resolution, box).split(self.cfg.isosurface_chunk or ISOSURFACE_CHUNK)
        field = torch.cat([self.forward_field(points.to(box))[0].cpu() for points in chunks])
        threshold = self.cfg.isosurface_threshold
        nowhere = f"There is no surface at isosurface_threshold={threshold}"
        if threshold == "auto":
            threshold = field[field > EMPTY].mean().item()
        level = self.forward_level(field, threshold)
        if not level.min() < 0:
            raise UserError(
                f"{nowhere}: the field's largest value is {field.max():g}; "
                f"lower {key_of(self.cfg, 'isosurface_threshold')} or train longer."
            )
        if not level.max() > 0:
            raise UserError(
                f"{nowhere}: the field's smallest value is {field.min():g}; "
                f"raise {key_of(self.cfg, 'isosurface_threshold')} or train longer."
            )
        mesh = marching_cubes(level, resolution, box)
        mesh.add_extra("bbox", box)
        if self.cfg.isosurface_remove_outliers:
            mesh = mesh.remove_outlier(self.cfg.isosurface_outlier_n_faces_threshold)
        return mesh


@register("implicit-volume")
class ImplicitVolume(BaseImplicitGeometry):
    """Density and features of a radiance field.

    Works under torch.func.vmap and functional_call, normals included.

    Raises:
        UserError: a config value is impossible.
    """

    @dataclass
    class Config(BaseImplicitGeometry.Config):
        # threestudio's keys and defaults
        n_input_dims: int = 3  # number of coordinates of a point
        n_feature_dims: int = 3  # number of features for the material; 0: none
        density_activation: str | None = "softplus"  # name in networks/activations.py
        density_bias: Any = "blob_magic3d"  # added before the activation: a number, blob_dreamfusion or blob_magic3d
        density_blob_scale: float = 10.0  # bias in the center of the blob
        density_blob_std: float = 0.5  # width of the blob, world units
        pos_encoding_config: dict = field(  # encoding of positions, see networks/encodings.py
            default_factory=lambda: {
                "otype": "HashGrid",
                "n_levels": 16,
                "n_features_per_level": 2,
                "log2_hashmap_size": 19,
                "base_resolution": 16,
                "per_level_scale": 1.447269237440378,  # up to 4096 vertices along an axis
            }
        )
        mlp_network_config: dict = field(  # networks from the encoding to density, features and normals
            default_factory=lambda: {
                "otype": "VanillaMLP",
                "activation": "ReLU",
                "output_activation": "none",
                "n_neurons": 64,
                "n_hidden_layers": 1,
            }
        )
        # analytic, finite_difference (forward), finite_difference_laplacian (central), pred (by a network); null: none
        normal_type: str | None = "finite_difference"
        # step of the finite difference, world units; progressive: edge of a cell of the finest level in use (Li et al.,
        # 2023), only with ProgressiveBandHashGrid
        finite_difference_normal_eps: Any = 0.01
        isosurface_threshold: Any = 25.0  # density at the surface, or auto: its mean over points that are not empty
        # linear change of density_blob_std: min_anneal_step, max_anneal_step, start_val, end_val; null: none
        anneal_density_blob_std_config: dict | None = None

    cfg: Config

    def configure(self) -> None:
        super().configure()
        cfg = self.cfg
        self._check()
        self.density_activation = get_activation(cfg.density_activation, "density_activation")
        self.encoding = get_encoding(cfg.n_input_dims, cfg.pos_encoding_config)
        width = self.encoding.n_output_dims
        self.density_network = get_mlp(width, 1, cfg.mlp_network_config)
        if cfg.n_feature_dims > 0:
            self.feature_network = get_mlp(width, cfg.n_feature_dims, cfg.mlp_network_config)
        if cfg.normal_type == "pred":
            self.normal_network = get_mlp(width, 3, cfg.mlp_network_config)
        self.update_step(0, 0)

    def forward(self, points: Tensor, output_normal: bool = False) -> dict[str, Tensor]:
        """Density, features and normals at points.

        Args:
            points: world coordinates, (*N, 3).
            output_normal: also compute normals.

        Returns:
            `density` (*N, 1), `features` (*N, n_feature_dims) if n_feature_dims > 0, and with `output_normal` also
            `normal` and `shading_normal`, the same outward unit vectors (*N, 3).

        Raises:
            UserError: `output_normal` is set, and `normal_type` is null.
        """
        normal_type = self.cfg.normal_type
        if output_normal and normal_type is None:
            raise UserError(
                f"normal_type=None gives no normals, but they are needed; accepted: {', '.join(NORMAL_TYPES)}."
            )
        if output_normal and normal_type == "analytic":
            density, encoded, gradient = self._density_with_gradient(points)
        else:
            density, encoded = self._density(points)
        output = {"density": density}
        if self.cfg.n_feature_dims > 0:
            output["features"] = self.feature_network(encoded)
        if output_normal:
            if normal_type == "analytic":
                outward = -gradient
            elif normal_type == "pred":
                outward = self.normal_network(encoded)
            else:
                outward = -self._finite_difference(points, density)
            normal = functional.normalize(outward, dim=-1)
            output |= {"normal": normal, "shading_normal": normal}
        return output

    def forward_density(self, points: Tensor) -> Tensor:
        """Density (*N, 1) at world coordinates (*N, 3)."""
        return self._density(points)[0]

    def forward_field(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Density (*N, 1) at world coordinates (*N, 3), and no deformation."""
        return self.forward_density(points), None

    def forward_level(self, field: Tensor, threshold: float) -> Tensor:
        """Threshold minus density, which is negative inside."""
        return threshold - field

    def export(self, points: Tensor, **kwargs: Any) -> dict[str, Tensor]:
        """Arguments of `material.export` for points.

        Args:
            points: world coordinates, (*N, 3).
            **kwargs: ignored.

        Returns:
            `features` (*N, n_feature_dims), or an empty dict if n_feature_dims is 0.
        """
        if self.cfg.n_feature_dims == 0:
            return {}
        return {"features": self.feature_network(self._encode(points))}

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Set the width of the blob and the step of the finite difference."""
        self.density_blob_std = self._annealed_blob_std(global_step)
        eps = self.cfg.finite_difference_normal_eps
        self.finite_difference_normal_eps = self._finest_cell(global_step) if eps == "progressive" else eps

    def _encode(self, points: Tensor) -> Tensor:
        """Encode world coordinates (*N, 3) to (*N, n_output_dims)."""
        share = (points - self.bbox[0]) / (self.bbox[1] - self.bbox[0])
        encoded = self.encoding(share.reshape(-1, self.cfg.n_input_dims))
        return encoded.reshape(*points.shape[:-1], self.encoding.n_output_dims)

    def _density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density (*N, 1) and encoding (*N, n_output_dims)."""
        encoded = self._encode(points)
        raw = self.density_network(encoded) + self._density_bias(points)
        return self.density_activation(raw), encoded

    def _density_bias(self, points: Tensor) -> Any:
        bias, scale, std = self.cfg.density_bias, self.cfg.density_blob_scale, self.density_blob_std
        if bias == "blob_dreamfusion":
            return scale * torch.exp(-0.5 * points.square().sum(dim=-1, keepdim=True) / std**2)
        if bias == "blob_magic3d":
            return scale * (1 - points.norm(dim=-1, keepdim=True) / std)
        return bias

    def _density_with_gradient(self, points: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Density, encoding, and gradient of the density (*N, 3), which is differentiable itself."""

        def total_density(points: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            density, encoded = self._density(points)
            return density.sum(), (density, encoded)

        # torch.func, unlike torch.autograd, also works under vmap and no_grad.
        gradient, (density, encoded) = torch.func.grad(total_density, has_aux=True)(points)
        return density, encoded, gradient

    def _finite_difference(self, points: Tensor, density: Tensor) -> Tensor:
        """Gradient of the density (*N, 3) by finite differences along each axis."""
        eps = self.finite_difference_normal_eps
        steps = eps * torch.eye(3, dtype=points.dtype, device=points.device)
        radius = self.cfg.radius

        def densities(steps: Tensor) -> Tensor:
            return self.forward_density((points[..., None, :] + steps).clamp(-radius, radius))[..., 0]

        if self.cfg.normal_type == "finite_difference_laplacian":
            return (densities(steps) - densities(-steps)) / (2 * eps)
        return (densities(steps) - density) / eps

    def _annealed_blob_std(self, step: int) -> float:
        anneal = self.cfg.anneal_density_blob_std_config
        if anneal is None:
            return self.cfg.density_blob_std
        share = (step - anneal["min_anneal_step"]) / (anneal["max_anneal_step"] - anneal["min_anneal_step"])
        return anneal["start_val"] + min(max(share, 0.0), 1.0) * (anneal["end_val"] - anneal["start_val"])

    def _finest_cell(self, step: int) -> float:
        """Edge of a cell of the finest level in use at a step, world units."""
        grid: Any = self.encoding.encoding
        grid.update_step(0, step)
        resolution = grid.cfg.base_resolution * grid.cfg.per_level_scale ** (grid.current_level - 1)
        return 2 * self.cfg.radius / resolution

    def _check(self) -> None:
        cfg = self.cfg
        in_range("n_feature_dims", cfg.n_feature_dims, 0)
        if cfg.normal_type is not None:
            one_of("normal_type", cfg.normal_type, NORMAL_TYPES)
        if not _is_number(cfg.density_bias) and cfg.density_bias not in DENSITY_BLOBS:
            raise UserError(
                f"density_bias={cfg.density_bias!r} is impossible; accepted: a number, {' or '.join(DENSITY_BLOBS)}."
            )
        eps = cfg.finite_difference_normal_eps
        if eps == "progressive" and cfg.pos_encoding_config.get("otype") != "ProgressiveBandHashGrid":
            raise UserError(
                "finite_difference_normal_eps=progressive needs pos_encoding_config.otype=ProgressiveBandHashGrid."
            )
        if eps != "progressive" and not (_is_number(eps) and eps > 0):
            raise UserError(
                f"finite_difference_normal_eps={eps!r} is impossible; accepted: a positive number or progressive."
            )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
