"""Meshes in the file formats OBJ (with MTL) and GLB, Gaussians in PLY."""

from pathlib import Path
from typing import Any

import numpy as np

from ...errors import require
from ...files import write_whole
from .pictures import grayscale_picture, rgb_picture, write_picture

MATERIAL = "default"  # name of the material in the MTL file; threestudio
TEXTURES = {  # file names of the textures, without ending, by key of the MTL file; threestudio
    "map_Kd": "texture_kd",
    "map_Ks": "texture_ks",
    "map_Bump": "texture_nrm",
    "map_Pm": "texture_metallic",
    "map_Pr": "texture_roughness",
}
HARMONIC_0 = 0.28209479177387814  # constant spherical harmonic, 1 / (2 sqrt(pi))
LEAST_OPACITY = 1e-6  # distance of opacities from 0 and 1, whose logits are not finite
COLUMNS = (  # of a Gaussian in PLY, as viewers of 3D Gaussian splatting read them
    *("x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2"),
    *("opacity", "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3"),
)


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


def write_material(path: Path, textures: dict[str, Any], map_format: str) -> list[Path]:
    """Write an MTL file, and the textures that it names beside it.

    Args:
        path: MTL file.
        textures: (H, W, 3), (H, W, 1) or (H, W) in [0, 1], by key of that file.
        map_format: ending of the textures' names.

    Returns:
        all files.
    """
    names = {key: f"{TEXTURES[key]}.{map_format}" for key in textures}
    paths = [path.with_name(name) for name in names.values()]
    for texture_path, (key, pixels) in zip(paths, textures.items(), strict=True):
        if key in ("map_Pm", "map_Pr"):
            picture = grayscale_picture(pixels.reshape(pixels.shape[:2]), (0, 1), cmap=None)
        else:
            picture = rgb_picture(pixels)
        write_picture(picture, texture_path)
    write_whole(path, mtl_text(names))
    return [path, *paths]


def ply_bytes(positions: Any, scales: Any, rotations: Any, opacities: Any, colors: Any) -> bytes:
    """Content of a binary PLY file in the layout of Kerbl et al. (2023).

    Args:
        positions: (G, 3).
        scales: standard deviations, (G, 3); written as logarithms.
        rotations: quaternions w, x, y, z, (G, 4).
        opacities: in [0, 1], (G,); written as logits.
        colors: in [0, 1], (G, 3); written as coefficients of the constant spherical harmonic.
    """
    opacities = np.clip(np.asarray(opacities, np.float64), LEAST_OPACITY, 1 - LEAST_OPACITY)
    values = [
        positions,
        np.zeros_like(positions),  # normals, which Gaussians do not have
        (np.asarray(colors) - 0.5) / HARMONIC_0,
        np.log(opacities / (1 - opacities))[:, None],
        np.log(scales),
        rotations,
    ]
    rows = np.concatenate([np.asarray(each, np.float64) for each in values], 1).astype("<f4")
    header = ["ply", "format binary_little_endian 1.0", f"element vertex {len(rows)}"]
    header += [f"property float {name}" for name in COLUMNS]
    return ("\n".join([*header, "end_header"]) + "\n").encode() + rows.tobytes()
