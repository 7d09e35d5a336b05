"""`Mesh`: a triangle mesh with optional colors, normals and texture coordinates."""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from ...errors import require


class Mesh:
    """Triangle mesh, with threestudio's names of attributes.

    Args:
        v_pos: vertex positions, (V, 3).
        t_pos_idx: vertex indices of each triangle, (T, 3), counter-clockwise when seen from outside.
        extras: further data, by name.
    """

    def __init__(self, v_pos: Tensor, t_pos_idx: Tensor, **extras: Any) -> None:
        self.v_pos = v_pos
        self.t_pos_idx = t_pos_idx
        self.v_rgb: Tensor | None = None  # vertex colors in [0, 1], (V, 3)
        self.v_tex: Tensor | None = None  # texture coordinates in [0, 1], v downward, (W, 2)
        self.t_tex_idx: Tensor | None = None  # indices of texture coordinates of each triangle, (T, 3)
        self.extras = extras
        self._v_nrm: Tensor | None = None

    def add_extra(self, name: str, value: Any) -> None:
        """Store further data under a name."""
        self.extras[name] = value

    def set_vertex_color(self, v_rgb: Tensor) -> None:
        """Set vertex colors in [0, 1], (V, 3).

        Raises:
            ValueError: another shape.
        """
        if v_rgb.shape != self.v_pos.shape:
            raise ValueError(f"Colors of shape {tuple(v_rgb.shape)} for {len(self.v_pos)} vertices.")
        self.v_rgb = v_rgb

    @property
    def requires_grad(self) -> bool:
        """Whether the positions require a gradient."""
        return self.v_pos.requires_grad

    @property
    def v_nrm(self) -> Tensor:
        """Unit normals of the vertices, (V, 3): means over their faces, weighted by area."""
        if self._v_nrm is None:
            self._v_nrm = self._vertex_normals()
        return self._v_nrm

    def remove_outlier(self, outlier_n_faces_threshold: float) -> "Mesh":
        """Return the mesh without its small connected pieces. Extras are kept; colors and texture coordinates are not.

        Args:
            outlier_n_faces_threshold: smallest number of faces of a kept piece; a float is a share of the number of
                faces of the largest piece.

        Raises:
            UserError: SciPy is not installed.
        """
        sparse, csgraph = require("scipy.sparse", "mesh"), require("scipy.sparse.csgraph", "mesh")
        faces = self.t_pos_idx.detach().cpu().numpy()
        n_vertices = len(self.v_pos)
        edges = (faces[:, [0, 1, 2]].ravel(), faces[:, [1, 2, 0]].ravel())
        graph = sparse.coo_matrix((torch.ones(faces.size).numpy(), edges), shape=(n_vertices, n_vertices))
        _, pieces = csgraph.connected_components(graph, directed=False)
        piece_of_face = torch.as_tensor(pieces[faces[:, 0]], dtype=torch.long, device=self.t_pos_idx.device)
        n_faces = piece_of_face.bincount()
        least: Any = outlier_n_faces_threshold
        if isinstance(least, float):
            least = int(n_faces.max() * least)
        kept_faces = self.t_pos_idx[(n_faces >= least)[piece_of_face]]
        kept_vertices, new_faces = kept_faces.unique(return_inverse=True)
        return Mesh(self.v_pos[kept_vertices], new_faces, **self.extras)

    def _vertex_normals(self) -> Tensor:
        first, second, third = self.v_pos[self.t_pos_idx].unbind(1)
        twice_area = torch.linalg.cross(second - first, third - first)
        normals = torch.zeros_like(self.v_pos)
        for corner in self.t_pos_idx.unbind(1):
            normals = normals.index_add(0, corner, twice_area)
        upwards = normals.new_tensor([0.0, 0.0, 1.0])  # normal of vertices whose faces have no area; threestudio
        has_normal = normals.square().sum(dim=1, keepdim=True) > 1e-20
        return functional.normalize(torch.where(has_normal, normals, upwards), dim=1)
