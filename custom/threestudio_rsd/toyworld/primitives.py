"""Closed-form ray intersections with ellipsoids, capped cones and convex polyhedra.

The coordinates of R rays are stored as (3, R): torch is several times faster on one contiguous tensor per coordinate
than on interleaved (R, 3).
"""

from collections.abc import Sequence

import torch
from torch import Tensor

FAR = 1e9  # distance of rays without a hit
NEAR = 1e-3  # nearer hits are ignored
PARALLEL = 1e-8  # replaces denominators near zero, as for rays parallel to a plane

Vector = tuple[float, float, float]


class Surface:
    """Nearest hit of each ray among the primitives that have been added.

    Args:
        origins: origins of R rays, (3, R).
        directions: directions of the rays, (3, R); their length is the unit of `distance`.

    Attributes:
        distance: distance of the nearest hit, (R,); FAR where there is none.
        normal: unnormalized surface normal at the hit, (3, R).
        material: index of the material, (R,); -1 where there is no hit.
    """

    def __init__(self, origins: Tensor, directions: Tensor) -> None:
        self.origins, self.directions = origins, directions
        rays = origins.shape[1]
        self.distance = torch.full((rays,), FAR)
        self.normal = torch.zeros(3, rays)
        self.material = torch.full((rays,), -1)

    @property
    def hit(self) -> Tensor:
        """Mask of the rays that hit a primitive, (R,)."""
        return self.distance < FAR

    def ellipsoid(self, material: int, center: Vector, radii: Vector | float, above: float | None = None) -> None:
        """Add an ellipsoid with axes along the coordinate axes.

        Args:
            material: index of the material.
            center: center of the ellipsoid.
            radii: half axes, or one radius for all.
            above: height below which the ellipsoid is cut off, without a closing disc; None: the whole ellipsoid.
        """
        radii = radii if isinstance(radii, tuple) else (radii, radii, radii)
        origin = [(o - c) / r for o, c, r in zip(self.origins, center, radii, strict=True)]
        direction = [d / r for d, r in zip(self.directions, radii, strict=True)]
        a = _dot(direction, direction)
        b = _dot(origin, direction)
        discriminant = b * b - a * (_dot(origin, origin) - 1)
        distance = (-b - discriminant.clamp_min(0).sqrt()) / a
        valid = discriminant > 0
        if above is not None:
            valid &= self.origins[2] + distance * self.directions[2] >= above
        index = self._nearer(distance, valid)
        point = [o[index] + distance[index] * d[index] for o, d in zip(origin, direction, strict=True)]
        self._put(index, distance, material, [p / r for p, r in zip(point, radii, strict=True)])

    def cone(
        self,
        material: int,
        bounds: tuple[float, float],
        radii: tuple[float, float],
        center: Vector = (0.0, 0.0, 0.0),
        axis: int = 2,
    ) -> None:
        """Add a cone, cylinder or frustum, closed by discs.

        Args:
            material: index of the material.
            bounds: lowest and highest coordinate along the axis, relative to the center.
            radii: radii at the two bounds.
            center: point on the axis.
            axis: index of the coordinate axis, 2 for z.
        """
        u, v, w = ((axis + 1) % 3, (axis + 2) % 3, axis)
        ox, oy, oz = (self.origins[i] - center[i] for i in (u, v, w))
        dx, dy, dz = (self.directions[i] for i in (u, v, w))
        low, high = bounds
        slope = (radii[1] - radii[0]) / (high - low)
        radius_at_0 = radii[0] - slope * low
        radius_at_origin = radius_at_0 + slope * oz
        a = _nonzero(dx * dx + dy * dy - slope**2 * dz * dz)
        b = ox * dx + oy * dy - slope * radius_at_origin * dz
        discriminant = b * b - a * (ox * ox + oy * oy - radius_at_origin * radius_at_origin)
        root = discriminant.clamp_min(0).sqrt()
        for sign in (-1.0, 1.0):
            distance = (-b + sign * root) / a
            along = oz + distance * dz
            valid = (discriminant > 0) & (along >= low) & (along <= high) & (radius_at_0 + slope * along >= 0)
            index = self._nearer(distance, valid)
            t = distance[index]
            normal = {
                u: ox[index] + t * dx[index],
                v: oy[index] + t * dy[index],
                w: -slope * (radius_at_0 + slope * along[index]),
            }
            self._put(index, distance, material, [normal[i] for i in range(3)])
        for height, radius, outward in ((low, radii[0], -1.0), (high, radii[1], 1.0)):
            if radius == 0:
                continue
            distance = (height - oz) / _nonzero(dz)
            x, y = ox + distance * dx, oy + distance * dy
            index = self._nearer(distance, x * x + y * y <= radius * radius)
            self._put(index, distance, material, [torch.tensor(outward if i == axis else 0.0) for i in range(3)])

    def polyhedron(self, material: int, planes: Sequence[tuple[Vector, float]]) -> None:
        """Add a convex polyhedron: the points x with normal . x <= offset for all planes.

        Args:
            material: index of the material.
            planes: (normal, offset) of each plane.
        """
        enter, leave = torch.full_like(self.distance, -FAR), torch.full_like(self.distance, FAR)
        face = torch.zeros_like(self.material)
        for i, (normal, offset) in enumerate(planes):
            facing = _plane(normal, self.directions)
            distance = (offset - _plane(normal, self.origins)) / _nonzero(facing)
            entering = (facing < 0) & (distance > enter)
            enter = torch.where(entering, distance, enter)
            face.masked_fill_(entering, i)
            leave = torch.where((facing >= 0) & (distance < leave), distance, leave)
        index = self._nearer(enter, enter < leave)
        normals = torch.tensor([normal for normal, _ in planes])[face[index]]
        self._put(index, enter, material, list(normals.T))

    def box(self, material: int, low: Vector, high: Vector) -> None:
        """Add a box with edges along the coordinate axes.

        Args:
            material: index of the material.
            low: corner with the lowest coordinates.
            high: corner with the highest coordinates.
        """
        unit = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
        upper = [(normal, h) for normal, h in zip(unit, high, strict=True)]
        lower = [((-x, -y, -z), -bound) for (x, y, z), bound in zip(unit, low, strict=True)]
        self.polyhedron(material, upper + lower)

    def _nearer(self, distance: Tensor, valid: Tensor) -> Tensor:
        """Indices of the rays whose hit is valid and nearer than all earlier ones."""
        return (valid & (distance > NEAR) & (distance < self.distance)).nonzero()[:, 0]

    def _put(self, index: Tensor, distance: Tensor, material: int, normal: list[Tensor]) -> None:
        """Store the hits of the rays with these indices."""
        self.distance[index] = distance[index]
        self.material[index] = material
        for i in range(3):
            self.normal[i, index] = normal[i]


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]


def _nonzero(x: Tensor) -> Tensor:
    return torch.where(x.abs() < PARALLEL, torch.full_like(x, PARALLEL), x)


def _plane(normal: Vector, vectors: Tensor) -> Tensor:
    """Dot product of a normal with vectors (3, R) -> (R,); terms with a zero factor are skipped."""
    terms = [n * v for n, v in zip(normal, vectors, strict=True) if n != 0]
    total: Tensor = sum(terms[1:], terms[0])
    return total
