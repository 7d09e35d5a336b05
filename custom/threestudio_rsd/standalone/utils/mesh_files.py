"""Meshes in the file formats OBJ (with MTL) and GLB."""

from typing import Any

import numpy as np

from ...errors import require

MATERIAL = "default"  # name of the material in the MTL file; threestudio
TEXTURES = {  # file names of the textures, without ending, by key of the MTL file; threestudio
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
    """Content of an OBJ file. Vertex colors follow the positions on the same line, as most programs read them.

    Args:
        positions: vertex positions, (V, 3).
        faces: vertex indices of each triangle, (T, 3), from 0.
        colors: vertex colors in [0, 1], (V, 3).
        normals: vertex normals, (V, 3).
        texture_coordinates: (W, 2) in [0, 1], v downward.
        texture_faces: indices of the texture coordinates of each triangle, (T, 3), from 0.
        material: name of the MTL file; None: no material.

    Example:
        >>> print(obj_text(np.eye(3), np.array([[0, 1, 2]])), end="")
        v 1 0 0
        v 0 1 0
        v 0 0 1
        f 1 2 3
    """
    lines = [f"mtllib {material}", f"usemtl {MATERIAL}"] if material else []
    vertices = positions if colors is None else np.concatenate([positions, colors], axis=1)
    lines += ["v " + " ".join(f"{number:.6g}" for number in vertex) for vertex in vertices.tolist()]
    if texture_coordinates is not None:
        lines += [f"vt {u:.6g} {1 - v:.6g}" for u, v in texture_coordinates.tolist()]
    if normals is not None:
        lines += ["vn " + " ".join(f"{number:.6g}" for number in normal) for normal in normals.tolist()]
    lines += _face_lines(faces, texture_faces, has_normals=normals is not None)
    return "\n".join(lines) + "\n"


def mtl_text(maps: dict[str, str]) -> str:
    """Content of an MTL file.

    Args:
        maps: file names of the textures, by their keys in the file, see `TEXTURES`.
    """
    lines = [f"newmtl {MATERIAL}", "Ka 0.0 0.0 0.0"]
    if "map_Kd" not in maps:
        lines.append("Kd 1.0 1.0 1.0")
    if "map_Ks" not in maps:
        lines.append("Ks 0.0 0.0 0.0")
    return "\n".join([*lines, *(f"{key} {name}" for key, name in maps.items())]) + "\n"


def glb_bytes(positions: np.ndarray, faces: np.ndarray, colors: np.ndarray | None = None) -> bytes:
    """Content of a GLB file with vertex colors. GLB has y upward and colors in linear light (glTF 2.0, section 3).

    Args:
        positions: vertex positions, z upward, (V, 3).
        faces: vertex indices of each triangle, (T, 3), from 0.
        colors: vertex colors, sRGB in [0, 1], (V, 3).

    Raises:
        UserError: trimesh is not installed.
    """
    trimesh = require("trimesh", "mesh")
    y_up = positions[:, [0, 2, 1]] * np.array([1, 1, -1], positions.dtype)
    linear = None if colors is None else np.rint(255 * _linear(colors)).astype(np.uint8)
    mesh = trimesh.Trimesh(y_up, faces, vertex_colors=linear, process=False)
    return trimesh.exchange.gltf.export_glb(mesh.scene(), tree_postprocessor=_set_matte_material)


def _face_lines(faces: np.ndarray, texture_faces: np.ndarray | None, has_normals: bool) -> list[str]:
    """Lines `f v/vt/vn ...` of an OBJ file, which counts from 1; normals have the indices of the vertices."""
    lines = []
    for i, face in enumerate((faces + 1).tolist()):
        corners = [str(vertex) for vertex in face]
        if texture_faces is not None:
            places = (texture_faces[i] + 1).tolist()
            corners = [f"{corner}/{place}" for corner, place in zip(corners, places, strict=True)]
        if has_normals:
            gap = "/" if texture_faces is not None else "//"
            corners = [f"{corner}{gap}{vertex}" for corner, vertex in zip(corners, face, strict=True)]
        lines.append("f " + " ".join(corners))
    return lines


def _linear(colors: np.ndarray) -> np.ndarray:
    """Convert sRGB to linear light, both in [0, 1] (IEC 61966-2-1)."""
    return np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)


def _set_matte_material(tree: dict[str, Any]) -> None:
    """Give the mesh a white, matte material, because glTF's default is metallic."""
    tree["materials"] = [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}}]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0
