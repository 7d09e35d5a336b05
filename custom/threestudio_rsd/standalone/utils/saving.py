"""Saving what a system makes, below one folder."""

import importlib.util
import json
import os
import re
import shutil
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from ...errors import require
from .config import config_to_primitive
from .mesh_files import TEXTURES, glb_bytes, mtl_text, obj_text
from .pictures import grayscale_picture, picture_grid, rgb_picture, uv_picture


class SaverMixin:
    """Writes files under the folder of `set_save_dir`, and returns their paths.

    File names are relative to that folder and may have folders in them.
    """

    _save_dir: str | None = None
    _wandb_logger: Any = None

    def set_save_dir(self, save_dir: str) -> None:
        self._save_dir = save_dir

    def get_save_dir(self) -> str:
        if self._save_dir is None:
            raise ValueError("The folder for results is not set; call set_save_dir.")
        return self._save_dir

    def get_save_path(self, filename: str) -> str:
        """Full path of a file; its folder is made."""
        path = os.path.join(self.get_save_dir(), filename)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return path

    def convert_data(self, data: Any) -> Any:
        """Tensors as arrays, also within lists and dicts."""
        if isinstance(data, torch.Tensor):
            data = data.detach().cpu()
            return (data.float() if data.dtype == torch.bfloat16 else data).numpy()
        if isinstance(data, list | tuple):
            return [self.convert_data(item) for item in data]
        if isinstance(data, dict):
            return {key: self.convert_data(value) for key, value in data.items()}
        if data is None or isinstance(data, np.ndarray):
            return data
        raise TypeError(f"Data is a {type(data).__name__}; accepted: tensors, arrays, and lists and dicts of them.")

    def create_loggers(self, cfg_loggers: Any) -> None:
        """Loggers of the config beside the files: `wandb: {enable, project, name}`."""
        settings = (config_to_primitive(cfg_loggers) or {}).get("wandb") or {}
        if settings.get("enable"):
            require("wandb", "wandb")
            from pytorch_lightning.loggers import WandbLogger

            self._wandb_logger = WandbLogger(project=settings.get("project"), name=settings.get("name"))

    def get_loggers(self) -> list:
        return [self._wandb_logger] if self._wandb_logger else []

    def save_image(self, filename: str, img: Any) -> str:
        """Save 8-bit or 16-bit pixels: (H, W), (H, W, 3) or (H, W, 4)."""
        path = self.get_save_path(filename)
        Image.fromarray(self.convert_data(img)).save(path)
        return path

    def save_rgb_image(
        self,
        filename: str,
        img: Any,
        data_format: str = "HWC",
        data_range: tuple = (0, 1),
        name: str | None = None,
        step: int | None = None,
    ) -> str:
        """Save (H, W, C) or (C, H, W) values within `data_range`."""
        return self._save_picture(filename, rgb_picture(self.convert_data(img), data_format, data_range), name, step)

    def save_uv_image(
        self,
        filename: str,
        img: Any,
        data_format: str = "HWC",
        data_range: tuple = (0, 1),
        cmap: str = "checkerboard",
    ) -> str:
        """Save texture coordinates (H, W, 2)."""
        return self._save_picture(filename, uv_picture(self.convert_data(img), data_format, data_range, cmap))

    def save_grayscale_image(
        self,
        filename: str,
        img: Any,
        data_range: tuple | None = None,
        cmap: str | None = "jet",
        name: str | None = None,
        step: int | None = None,
    ) -> str:
        """Save (H, W) values, in colors of `cmap` unless that is None."""
        return self._save_picture(filename, grayscale_picture(self.convert_data(img), data_range, cmap), name, step)

    def save_image_grid(
        self,
        filename: str,
        imgs: list,
        align: Any = "max",
        name: str | None = None,
        step: int | None = None,
        texts: list | None = None,
    ) -> str:
        """Save several images as one.

        Args:
            filename: of the picture.
            imgs: one row, or a list of rows, of `{"type": rgb|grayscale|uv, "img": ..., "kwargs": {...}}`.
            align: size of the cells: `max`, `min`, a number, or (height, width).
            name, step: under which it is logged.
            texts: written over the picture, one below the other.
        """

        def converted(cells: Any) -> Any:
            if isinstance(cells, list):
                return [converted(cell) for cell in cells]
            return {**cells, "img": self.convert_data(cells["img"])}

        picture = picture_grid(converted(imgs), align)
        if texts:
            image = Image.fromarray(picture)
            draw = ImageDraw.Draw(image)
            for i, text in enumerate(texts):
                position = (1, image.height // len(texts) * i)
                draw.text(position, str(text), fill="black", stroke_width=1, stroke_fill="white")
            picture = np.asarray(image)
        return self._save_picture(filename, picture, name, step)

    def save_img_sequence(
        self,
        filename: str,
        img_dir: str,
        matcher: str,
        save_format: str = "mp4",
        fps: int = 30,
        name: str | None = None,
        step: int | None = None,
    ) -> str:
        """Save images of a folder as a film.

        Args:
            filename: of the film; the format is added if it lacks it.
            img_dir: folder of the images, below the folder for results.
            matcher: regular expression of their names; its group is their number.
            save_format: `mp4` or `gif`.
            fps: images a second.
            name, step: under which it is logged.

        Raises:
            UserError: there is no imageio_ffmpeg, which films need.
        """
        imageio = require("imageio")
        if save_format == "mp4":
            require("imageio_ffmpeg")  # without it imageio tries to write a TIFF
        if not filename.endswith(f".{save_format}"):
            filename = f"{filename}.{save_format}"
        folder = os.path.join(self.get_save_dir(), img_dir)
        matches = [match for match in map(re.compile(matcher).search, os.listdir(folder)) if match]
        matches.sort(key=lambda match: int(match.group(1)))
        images = [np.asarray(Image.open(os.path.join(folder, match.string)).convert("RGB")) for match in matches]
        path = self.get_save_path(filename)
        # A GIF counts milliseconds a frame, a film frames a second; a film's sides are even.
        options = {"duration": 1000 / fps} if save_format == "gif" else {"fps": fps, "macro_block_size": 2}
        imageio.mimsave(path, images, **options)
        self._log_media(path, name, step, video=True)
        return path

    def save_data(self, filename: str, data: Any) -> str:
        """Save an array as .npy, or a dict of arrays as .npz."""
        data = self.convert_data(data)
        suffix = ".npz" if isinstance(data, dict) else ".npy"
        path = self.get_save_path(filename if filename.endswith(suffix) else filename + suffix)
        np.savez(path, **data) if isinstance(data, dict) else np.save(path, data)
        return path

    def save_obj(
        self,
        filename: str,
        mesh: Any,
        save_mat: bool = False,
        save_normal: bool = False,
        save_uv: bool = False,
        save_vertex_color: bool = False,
        map_Kd: Any = None,
        map_Ks: Any = None,
        map_Bump: Any = None,
        map_Pm: Any = None,
        map_Pr: Any = None,
        map_format: str = "jpg",
    ) -> list[str]:
        """Save a mesh as OBJ, and as a GLB of the same name where trimesh is installed.

        Args:
            filename: of the mesh; .obj is added if it lacks it.
            mesh: `Mesh`, with what the other arguments ask for.
            save_mat: write a material (MTL), and the textures that are given, beside it.
            save_normal, save_uv, save_vertex_color: write these, too.
            map_Kd, map_Ks, map_Bump: textures (H, W, 3) in [0, 1]: colors, highlights, normals.
            map_Pm, map_Pr: textures (H, W) or (H, W, 1) in [0, 1]: how metallic, how rough.
            map_format: ending of the textures' names.

        Returns:
            Paths of all files.
        """
        path = self.get_save_path(filename if filename.endswith(".obj") else f"{filename}.obj")
        stem = path.removesuffix(".obj")
        positions, faces = self.convert_data(mesh.v_pos), self.convert_data(mesh.t_pos_idx)
        colors = self.convert_data(mesh.v_rgb) if save_vertex_color else None
        text = obj_text(
            positions,
            faces,
            colors,
            normals=self.convert_data(mesh.v_nrm) if save_normal else None,
            texture_coordinates=self.convert_data(mesh.v_tex) if save_uv else None,
            texture_faces=self.convert_data(mesh.t_tex_idx) if save_uv else None,
            material=f"{os.path.basename(stem)}.mtl" if save_mat else None,
        )
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        paths = [path]
        if save_mat:
            maps = {"map_Kd": map_Kd, "map_Ks": map_Ks, "map_Bump": map_Bump, "map_Pm": map_Pm, "map_Pr": map_Pr}
            given = {key: image for key, image in maps.items() if image is not None}
            paths += self._save_material(stem, given, map_format)
        if importlib.util.find_spec("trimesh") is not None:
            paths.append(f"{stem}.glb")
            with open(paths[-1], "wb") as binary:
                binary.write(glb_bytes(positions, faces, colors))
        return paths

    def save_state_dict(self, filename: str, data: dict) -> str:
        """Save tensors with torch.save."""
        path = self.get_save_path(filename)
        torch.save(data, path)
        return path

    def save_file(self, filename: str, src_path: str) -> str:
        """Copy a file."""
        path = self.get_save_path(filename)
        shutil.copyfile(src_path, path)
        return path

    def save_json(self, filename: str, payload: Any) -> str:
        """Save plain values."""
        path = self.get_save_path(filename)
        with open(path, "w", encoding="utf-8") as file:
            json.dump(payload, file, indent=1, ensure_ascii=False)
        return path

    def _save_material(self, stem: str, maps: dict[str, Any], map_format: str) -> list[str]:
        names = {key: f"{TEXTURES[key]}.{map_format}" for key in maps}
        paths = [os.path.join(os.path.dirname(stem), name) for name in names.values()]
        for path, (key, image) in zip(paths, maps.items(), strict=True):
            pixels = self.convert_data(image)
            if key in ("map_Pm", "map_Pr"):
                picture = grayscale_picture(pixels.reshape(pixels.shape[:2]), (0, 1), cmap=None)
            else:
                picture = rgb_picture(pixels)
            Image.fromarray(picture).save(path)
        with open(f"{stem}.mtl", "w", encoding="utf-8") as file:
            file.write(mtl_text(names))
        return [f"{stem}.mtl", *paths]

    def _save_picture(
        self, filename: str, picture: np.ndarray, name: str | None = None, step: int | None = None
    ) -> str:
        path = self.get_save_path(filename)
        Image.fromarray(picture).save(path)
        self._log_media(path, name, step)
        return path

    def _log_media(self, path: str, name: str | None, step: int | None, video: bool = False) -> None:
        if name and self._wandb_logger:
            wandb = require("wandb", "wandb")
            media = wandb.Video(path) if video else wandb.Image(path)
            self._wandb_logger.experiment.log({name: media, "trainer/global_step": step})
