"""`implicit-volume`: density and features of points, from an encoding and small networks."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ....errors import UserError, one_of
from ...utils.base import BaseModule
from ...utils.messages import warn
from ...utils.registry import register
from ..isosurface import grid_points, marching_cubes
from ..mesh import Mesh
from ..networks import get_encoding, get_mlp
from ..networks.activations import get_activation

ISOSURFACE_METHODS = ("mt", "mc-cpu")  # threestudio's marching tetrahedra and marching cubes: marching cubes, both
ISOSURFACE_CHUNK = 2**17  # points at once where the config leaves it open
EMPTY = 1e-5  # field that does not count in the automatic threshold; threestudio
COARSE_MARGIN = 0.1  # of the coarse mesh's extent, left around it for the fine one; threestudio
NORMAL_TYPES = ("analytic", "finite_difference", "finite_difference_laplacian", "pred")
DENSITY_BLOBS = ("blob_dreamfusion", "blob_magic3d")


class BaseImplicitGeometry(BaseModule):
    """A field in the cube [-radius, radius]^3, and the surface in it. Subclasses give the field."""

    @dataclass
    class Config(BaseModule.Config):
        radius: float = 1.0  # half the edge of the cube
        isosurface: bool = True  # whether a surface may be asked for
        isosurface_method: str = "mt"  # mt or mc-cpu: marching cubes on the CPU, both
        isosurface_resolution: int = 128  # points along an axis
        isosurface_threshold: Any = 0.0  # field at the surface, or auto: its mean where it is not empty
        isosurface_chunk: int = 0  # points evaluated at once; 0: what fits
        isosurface_coarse_to_fine: bool = True  # a second time, in the bounding box of the first surface
        isosurface_deformable_grid: bool = False  # for geometries with a deformation, of which the host has none
        isosurface_remove_outliers: bool = True  # drop small pieces
        isosurface_outlier_n_faces_threshold: int | float = 0.01  # faces of a piece; float: share of the largest

    cfg: Config
    bbox: Tensor
    unbounded = False  # the cube is all there is

    def configure(self) -> None:
        one_of("isosurface_method", self.cfg.isosurface_method, ISOSURFACE_METHODS)
        threshold = self.cfg.isosurface_threshold
        if threshold != "auto" and not _is_number(threshold):
            raise UserError(f"isosurface_threshold={threshold!r} is impossible; accepted: a number or auto.")
        corner = torch.full((3,), float(self.cfg.radius))
        self.register_buffer("bbox", torch.stack([-corner, corner]))

    def forward_field(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """For subclasses: field (*N, 1) at points (*N, 3), and their deformation or None."""
        raise NotImplementedError

    def forward_level(self, field: Tensor, threshold: float) -> Tensor:
        """For subclasses: field whose zero is the surface, negative inside."""
        raise NotImplementedError

    @torch.no_grad()
    def isosurface(self) -> Mesh:
        """Surface of the field.

        Raises:
            UserError: there is no surface at the threshold, or the config does not allow for one.
        """
        if not self.cfg.isosurface:
            raise UserError("isosurface=False: this geometry has no surface; set system.geometry.isosurface=true.")
        if self.cfg.isosurface_deformable_grid:
            warn(f"isosurface_deformable_grid is ignored: {type(self).__name__} deforms nothing.")
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
                "lower system.geometry.isosurface_threshold or train longer."
            )
        if not level.max() > 0:
            raise UserError(
                f"{nowhere}: the field's smallest value is {field.min():g}; "
                "raise system.geometry.isosurface_threshold or train longer."
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
        UserError: a config value that is impossible; names the key, the value and what is accepted.
    """

    @dataclass
    class Config(BaseImplicitGeometry.Config):
        n_input_dims: int = 3  # coordinates of a point
        n_feature_dims: int = 3  # features for the material; 0: none
        density_activation: str | None = "softplus"
        density_bias: Any = "blob_magic3d"  # before the activation: a number, blob_dreamfusion or blob_magic3d
        density_blob_scale: float = 10.0  # bias at the center
        density_blob_std: float = 0.5  # width of the blob, in world units
        pos_encoding_config: dict = field(
            default_factory=lambda: {
                "otype": "HashGrid",
                "n_levels": 16,
                "n_features_per_level": 2,
                "log2_hashmap_size": 19,
                "base_resolution": 16,
                "per_level_scale": 1.447269237440378,  # up to 4096 vertices along an axis
            }
        )
        mlp_network_config: dict = field(
            default_factory=lambda: {
                "otype": "VanillaMLP",
                "activation": "ReLU",
                "output_activation": "none",
                "n_neurons": 64,
                "n_hidden_layers": 1,
            }
        )
        # analytic, finite_difference (forward), finite_difference_laplacian (central), pred (a network), null: none
        normal_type: str | None = "finite_difference"
        # world units, or progressive: a cell of the finest level in use (Li et al., 2023), for ProgressiveBandHashGrid
        finite_difference_normal_eps: Any = 0.01
        isosurface_threshold: Any = 25.0  # density at the surface, or auto
        # min_anneal_step, max_anneal_step, start_val, end_val: density_blob_std goes linearly from one to the other
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
        """Field at points.

        Args:
            points: world coordinates (*N, 3).
            output_normal: whether normals are wanted.

        Returns:
            `density` (*N, 1), `features` (*N, n_feature_dims) if there are any, and where wanted `normal` and
            `shading_normal`, the same unit vectors (*N, 3) out of the object.

        Raises:
            UserError: normals are wanted, and `normal_type` is null.
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
                outwards = -gradient
            elif normal_type == "pred":
                outwards = self.normal_network(encoded)
            else:
                outwards = -self._finite_difference(points, density)
            normal = functional.normalize(outwards, dim=-1)
            output |= {"normal": normal, "shading_normal": normal}
        return output

    def forward_density(self, points: Tensor) -> Tensor:
        """Density (*N, 1) at world coordinates (*N, 3)."""
        return self._density(points)[0]

    def forward_field(self, points: Tensor) -> tuple[Tensor, Tensor | None]:
        """Density (*N, 1) at world coordinates (*N, 3); nothing is deformed."""
        return self.forward_density(points), None

    def forward_level(self, field: Tensor, threshold: float) -> Tensor:
        """Negative where the density is above the threshold."""
        return threshold - field

    def export(self, points: Tensor, **kwargs: Any) -> dict[str, Tensor]:
        """What the material needs at world coordinates (*N, 3): `features` (*N, n_feature_dims), if there are any."""
        if self.cfg.n_feature_dims == 0:
            return {}
        return {"features": self.feature_network(self._encode(points))}

    def update_step(self, epoch: int, global_step: int, on_load_weights: bool = False) -> None:
        """Width of the blob and step of the finite difference at this step."""
        self.density_blob_std = self._annealed_blob_std(global_step)
        eps = self.cfg.finite_difference_normal_eps
        self.finite_difference_normal_eps = self._finest_cell(global_step) if eps == "progressive" else eps

    def _encode(self, points: Tensor) -> Tensor:
        """(*N, 3) in the world to (*N, n_output_dims)."""
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
        """Density, encoding, and the density's gradient (*N, 3), which can be differentiated in turn."""

        def total_density(points: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
            density, encoded = self._density(points)
            return density.sum(), (density, encoded)

        # torch.func, unlike torch.autograd, also differentiates under vmap and where gradients are switched off.
        gradient, (density, encoded) = torch.func.grad(total_density, has_aux=True)(points)
        return density, encoded, gradient

    def _finite_difference(self, points: Tensor, density: Tensor) -> Tensor:
        """The density's gradient (*N, 3), from its values at a distance of eps along each axis."""
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
        """Edge of a cell of the finest level in use at this step, in world units."""
        grid: Any = self.encoding.encoding
        grid.update_step(0, step)
        resolution = grid.cfg.base_resolution * grid.cfg.per_level_scale ** (grid.current_level - 1)
        return 2 * self.cfg.radius / resolution

    def _check(self) -> None:
        cfg = self.cfg
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
