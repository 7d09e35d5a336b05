"""Meshes in the file formats OBJ and GLB."""

from typing import Any

import numpy as np

from ...errors import require

MATERIAL = "default"  # name within the MTL file; threestudio's
TEXTURES = {  # file names by the MTL file's keys; threestudio's
    "map_Kd": "texture_kd",
    "map_Ks": "texture_ks",
    "map_Bump": "texture_nrm",
    "map_Pm": "texture_metallic",
    "map_Pr": "texture_roughness",
}


def obj_text(
    positions: np.ndarray,
    faces: np.ndarray,
    colors: np.ndarray | None = None,
    normals: np.ndarray | None = None,
    texture_coordinates: np.ndarray | None = None,
    texture_faces: np.ndarray | None = None,
    material: str | None = None,
) -> str:
    """A mesh as OBJ; vertex colors stand behind the positions, as most programs read them.

    Args:
        positions: (V, 3).
        faces: vertices of each triangle (T, 3), counted from 0.
        colors: of the vertices (V, 3) in [0, 1].
        normals: of the vertices (V, 3).
        texture_coordinates: (W, 2) in [0, 1], v downwards.
        texture_faces: texture coordinates of each triangle (T, 3).
        material: name of the MTL file.
    """
    lines = [f"mtllib {material}", f"usemtl {MATERIAL}"] if material else []
    vertices = positions if colors is None else np.concatenate([positions, colors], axis=1)
    lines += ["v " + " ".join(f"{number:.6g}" for number in vertex) for vertex in vertices.tolist()]
    if texture_coordinates is not None:
        lines += [f"vt {u:.6g} {1 - v:.6g}" for u, v in texture_coordinates.tolist()]
    if normals is not None:
        lines += ["vn " + " ".join(f"{number:.6g}" for number in normal) for normal in normals.tolist()]
    for i, face in enumerate((faces + 1).tolist()):
        corners = [str(vertex) for vertex in face]
        if texture_faces is not None:
            places = (texture_faces[i] + 1).tolist()
            corners = [f"{corner}/{place}" for corner, place in zip(corners, places, strict=True)]
        if normals is not None:
            gap = "/" if texture_faces is not None else "//"
            corners = [f"{corner}{gap}{vertex}" for corner, vertex in zip(corners, face, strict=True)]
        lines.append("f " + " ".join(corners))
    return "\n".join(lines) + "\n"


def mtl_text(maps: dict[str, str]) -> str:
    """The material, with the file names of its textures by key."""
    lines = [f"newmtl {MATERIAL}", "Ka 0.0 0.0 0.0"]
    if "map_Kd" not in maps:
        lines.append("Kd 1.0 1.0 1.0")
    if "map_Ks" not in maps:
        lines.append("Ks 0.0 0.0 0.0")
    return "\n".join([*lines, *(f"{key} {name}" for key, name in maps.items())]) + "\n"


def glb_bytes(positions: np.ndarray, faces: np.ndarray, colors: np.ndarray | None = None) -> bytes:
    """A mesh with vertex colors as GLB, which has y upwards and colors in linear light (glTF 2.0, section 3).

    Args:
        positions: (V, 3), z upwards.
        faces: (T, 3).
        colors: sRGB (V, 3) in [0, 1].

    Raises:
        UserError: trimesh is not installed.
    """
    trimesh = require("trimesh", "mesh")
    y_up = positions[:, [0, 2, 1]] * np.array([1, 1, -1], positions.dtype)
    linear = None if colors is None else np.rint(255 * _linear(colors)).astype(np.uint8)
    mesh = trimesh.Trimesh(y_up, faces, vertex_colors=linear, process=False)
    return trimesh.exchange.gltf.export_glb(mesh.scene(), tree_postprocessor=_make_matt)


def _linear(colors: np.ndarray) -> np.ndarray:
    """SRGB as linear light, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _make_matt(tree: dict[str, Any]) -> None:
    """Give the mesh a plain white material: without one, glTF takes it for bare metal."""
    tree["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
