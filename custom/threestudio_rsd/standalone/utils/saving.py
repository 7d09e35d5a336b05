"""`SaverMixin`: methods that save images, films, meshes and data of a system below one folder."""

import importlib.util
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw

from ...errors import require
from ...files import whole_file, write_json, write_whole
from .config import config_to_primitive
from .mesh_files import glb_bytes, obj_text, ply_bytes, write_material
from .pictures import grayscale_picture, picture_grid, rgb_picture, uv_picture, write_picture


class SaverMixin:
    """Methods that write files below the folder of `set_save_dir`, and return their paths.

    File names are relative to that folder and may contain folders.
    """

    _save_dir: str | None = None
    _wandb_logger: Any = None

    def set_save_dir(self, save_dir: str) -> None:
        """Set the folder for results."""
        self._save_dir = save_dir

    def get_save_dir(self) -> str:
        """Return the folder for results.

        Raises:
            ValueError: it is not set.
        """
        if self._save_dir is None:
            raise ValueError("The folder for results is not set; call set_save_dir.")
        return self._save_dir

    def get_save_path(self, filename: str) -> str:
        """Return the full path of a file, and make its folder."""
        path = Path(self.get_save_dir(), filename)
        path.parent.mkdir(parents=True, exist_ok=True)
        return str(path)

    def convert_data(self, data: Any) -> Any:
        """Convert tensors to arrays, also within lists and dicts.

        Raises:
            TypeError: the data contains something else.
        """
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
        """Make the loggers of a config.

        Args:
            cfg_loggers: `wandb: {enable, project, name}`, or nothing.

        Raises:
            UserError: wandb is enabled and not installed.
        """
        settings = (config_to_primitive(cfg_loggers) or {}).get("wandb") or {}
        if settings.get("enable"):
            require("wandb")
            from pytorch_lightning.loggers import WandbLogger

            self._wandb_logger = WandbLogger(project=settings.get("project"), name=settings.get("name"))

    def get_loggers(self) -> list:
        """Return the loggers that `create_loggers` made."""
        return [self._wandb_logger] if self._wandb_logger else []

    def save_image(self, filename: str, img: Any) -> str:
        """Save pixels.

        Args:
            filename: name of the picture; its ending is the format.
            img: 8-bit pixels (H, W), (H, W, 3) or (H, W, 4), or 16-bit pixels (H, W).
        """
        path = self.get_save_path(filename)
        write_picture(self.convert_data(img), Path(path))
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
        """Save an image.

        Args:
            filename: name of the picture; its ending is the format.
            img: (H, W, C) or (C, H, W); more than three channels become several pictures side by side.
            data_format: order of the axes: `HWC` or `CHW`.
            data_range: lowest and highest value.
            name: name under which the picture is logged; None: it is not.
            step: training step that is logged.
        """
        return self._save_picture(filename, rgb_picture(self.convert_data(img), data_format, data_range), name, step)

    def save_uv_image(
        self,
        filename: str,
        img: Any,
        data_format: str = "HWC",
        data_range: tuple = (0, 1),
        cmap: str = "checkerboard",
    ) -> str:
        """Save texture coordinates.

        Args:
            filename: name of the picture; its ending is the format.
            img: (H, W, 2) or (2, H, W).
            data_format: order of the axes: `HWC` or `CHW`.
            data_range: lowest and highest value.
            cmap: `checkerboard`, or `color` for red and green.
        """
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
        """Save an array of numbers as a picture.

        Args:
            filename: name of the picture; its ending is the format.
            img: (H, W).
            data_range: lowest and highest value; None: those of the array.
            cmap: color map of matplotlib; None: gray.
            name: name under which the picture is logged; None: it is not.
            step: training step that is logged.
        """
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
        """Save several images as one picture.

        Args:
            filename: name of the picture; its ending is the format.
            imgs: a row, or a list of rows, of `{"type": rgb|grayscale|uv, "img": ..., "kwargs": {...}}`.
            align: size of all images: `max` or `min` of a row, a number of pixels, or (height, width).
            name: name under which the picture is logged; None: it is not.
            step: training step that is logged.
            texts: lines of text to write over the picture, spread over its height.
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
        """Save the images of a folder as a film.

        Args:
            filename: name of the film; the ending is added if it is missing.
            img_dir: folder of the images, below the folder for results.
            matcher: regular expression for their names, whose first group is the number that they are sorted by.
            save_format: `mp4` or `gif`.
            fps: images per second.
            name: name under which the film is logged; None: it is not.
            step: training step that is logged.

        Raises:
            UserError: imageio_ffmpeg, which mp4 needs, is not installed.
        """
        imageio = require("imageio")
        if save_format == "mp4":
            require("imageio_ffmpeg")  # without it imageio tries to write a TIFF
        if not filename.endswith(f".{save_format}"):
            filename = f"{filename}.{save_format}"
        folder = Path(self.get_save_dir(), img_dir)
        names = [path.name for path in folder.iterdir()]
        matches = [match for match in map(re.compile(matcher).search, names) if match]
        matches.sort(key=lambda match: int(match.group(1)))
        images = [np.asarray(Image.open(folder / match.string).convert("RGB")) for match in matches]
        path = self.get_save_path(filename)
        # imageio takes milliseconds per image for a GIF and images per second for a film, whose sides must be even.
        options = {"duration": 1000 / fps} if save_format == "gif" else {"fps": fps, "macro_block_size": 2}
        with whole_file(Path(path)) as unfinished:
            imageio.mimsave(unfinished, images, format={"mp4": "FFMPEG"}.get(save_format, save_format), **options)
        self._log_media(path, name, step, video=True)
        return path

    def save_data(self, filename: str, data: Any) -> str:
        """Save an array as .npy, or a dict of arrays as .npz.

        Args:
            filename: name of the file; the ending is added if it is missing.
            data: tensor, array, or dict of them.
        """
        data = self.convert_data(data)
        suffix = ".npz" if isinstance(data, dict) else ".npy"
        path = self.get_save_path(filename if filename.endswith(suffix) else filename + suffix)
        with whole_file(Path(path)) as unfinished, unfinished.open("wb") as file:
            np.savez(file, **data) if isinstance(data, dict) else np.save(file, data)
        return path

    def save_obj(
        self,
        filename: str,
        mesh: Any,
        save_mat: bool = False,
        save_normal: bool = False,
        save_uv: bool = False,
        save_vertex_color: bool = False,
        map_Kd: Any = None,  # noqa: N803 threestudio's name
        map_Ks: Any = None,  # noqa: N803 threestudio's name
        map_Bump: Any = None,  # noqa: N803 threestudio's name
        map_Pm: Any = None,  # noqa: N803 threestudio's name
        map_Pr: Any = None,  # noqa: N803 threestudio's name
        map_format: str = "jpg",
    ) -> list[str]:
        """Save a mesh as OBJ, and as a GLB of the same name if trimesh is installed.

        Args:
            filename: name of the mesh; .obj is added if it is missing.
            mesh: `Mesh`, with the normals, texture coordinates and colors that are to be saved.
            save_mat: also write a material (MTL) and the textures beside the mesh.
            save_normal: write vertex normals.
            save_uv: write texture coordinates.
            save_vertex_color: write vertex colors.
            map_Kd: texture of colors, (H, W, 3) in [0, 1].
            map_Ks: texture of highlights, (H, W, 3) in [0, 1].
            map_Bump: texture of normals, (H, W, 3) in [0, 1].
            map_Pm: texture of the metallic share, (H, W) or (H, W, 1) in [0, 1].
            map_Pr: texture of the roughness, (H, W) or (H, W, 1) in [0, 1].
            map_format: ending of the textures' names.

        Returns:
            Paths of all files.
        """
        path = Path(self.get_save_path(filename if filename.endswith(".obj") else f"{filename}.obj"))
        positions, faces = self.convert_data(mesh.v_pos), self.convert_data(mesh.t_pos_idx)
        colors = self.convert_data(mesh.v_rgb) if save_vertex_color else None
        text = obj_text(
            positions,
            faces,
            colors,
            normals=self.convert_data(mesh.v_nrm) if save_normal else None,
            texture_coordinates=self.convert_data(mesh.v_tex) if save_uv else None,
            texture_faces=self.convert_data(mesh.t_tex_idx) if save_uv else None,
            material=path.with_suffix(".mtl").name if save_mat else None,
        )
        paths = [write_whole(path, text)]
        if save_mat:
            maps = {"map_Kd": map_Kd, "map_Ks": map_Ks, "map_Bump": map_Bump, "map_Pm": map_Pm, "map_Pr": map_Pr}
            given = {key: image for key, image in maps.items() if image is not None}
            paths += write_material(path.with_suffix(".mtl"), self.convert_data(given), map_format)
        if importlib.util.find_spec("trimesh") is not None:
            paths.append(path.with_suffix(".glb"))
            with whole_file(paths[-1]) as unfinished:
                unfinished.write_bytes(glb_bytes(positions, faces, colors))
        return list(map(str, paths))

    def save_ply(self, filename: str, **gaussians: Any) -> str:
        """Save Gaussians as PLY.

        Args:
            filename: name of the file; .ply is added if it is missing.
            **gaussians: arguments of `ply_bytes`, tensors or arrays.
        """
        path = self.get_save_path(filename if filename.endswith(".ply") else f"{filename}.ply")
        with whole_file(Path(path)) as unfinished:
            unfinished.write_bytes(ply_bytes(**self.convert_data(gaussians)))
        return path

    def save_state_dict(self, filename: str, data: dict) -> str:
        """Save a dict of tensors with torch.save."""
        path = self.get_save_path(filename)
        with whole_file(Path(path)) as unfinished:
            torch.save(data, unfinished)
        return path

    def save_file(self, filename: str, src_path: str) -> str:
        """Copy a file into the folder for results."""
        path = self.get_save_path(filename)
        with whole_file(Path(path)) as unfinished:
            shutil.copyfile(src_path, unfinished)
        return path

    def save_json(self, filename: str, payload: Any) -> str:
        """Save numbers, texts, lists and dicts as JSON; a number that is not finite raises NonFiniteError."""
        return str(write_json(Path(self.get_save_path(filename)), payload))

    def _save_picture(
        self, filename: str, picture: np.ndarray, name: str | None = None, step: int | None = None
    ) -> str:
        path = self.get_save_path(filename)
        write_picture(picture, Path(path))
        self._log_media(path, name, step)
        return path

    def _log_media(self, path: str, name: str | None, step: int | None, video: bool = False) -> None:
        if name and self._wandb_logger:
            wandb = require("wandb")
            media = wandb.Video(path) if video else wandb.Image(path)
            self._wandb_logger.experiment.log({name: media, "trainer/global_step": step})
