"""Image sets for evaluation, read from trial folders of this package, folders of images and single files."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, overload

from torch import Tensor

from ..errors import UserError, first_line
from ..images.reading import SUFFIXES, list_images, open_image, to_tensor
from ..metrics import spread_views
from ..runs.result_files import damaged, read_config, read_json, read_metrics, read_text

KEY = "RUN_OR_FOLDER"
TRIAL_DEPTH = 3  # levels, so that a large folder given by mistake is not searched for long
LONGEST_NUMBER = 18  # digits of a number in a file name that are read
ELEVATION = 15.0  # degrees; default of threestudio's eval_elevation_deg
GUIDE = "dino"  # default of the guidance modules' `features`


class ImageFiles(Sequence[Tensor]):
    """Images (3, H, W) in [0, 1] of files, each read on access.

    Args:
        files: paths of the images.
        key: setting that named them, for error messages.
    """

    def __init__(self, files: Sequence[Path], key: str = KEY) -> None:
        self.files = list(files)
        self.key = key

    def __len__(self) -> int:
        return len(self.files)

    @overload
    def __getitem__(self, index: int) -> Tensor: ...
    @overload
    def __getitem__(self, index: slice) -> "ImageFiles": ...
    def __getitem__(self, index: int | slice) -> "Tensor | ImageFiles":
        if isinstance(index, slice):
            return ImageFiles(self.files[index], self.key)
        return to_tensor(open_image(self.files[index], self.key))

    def __iter__(self) -> Iterator[Tensor]:
        return (self[index] for index in range(len(self)))


@dataclass
class Group:
    """Images whose diversity is measured together: particles of a prompt, answers to a measurement, views of a camera.

    Attributes:
        images: each (3, H, W) in [0, 1].
        prompt: prompt of all images.
        truths: ground truth of each image.
        camera: azimuth and elevation in degrees.
        one_measurement: whether the images are answers to one measurement, so that all truths are the same image.
    """

    images: Sequence[Tensor]
    prompt: str | None = None
    truths: Sequence[Tensor] | None = None
    camera: tuple[float, float] | None = None
    one_measurement: bool = False


@dataclass
class ImageSet:
    """Images that are evaluated together: one row of the tables.

    Attributes:
        label: name of the row, the path.
        groups: groups of images; diversity is measured within each.
        is_bundled: whether the images are of a run on the bundled prior.
        guide: feature network of the run's repulsion; None: no repulsion.
    """

    label: str
    groups: list[Group] = field(default_factory=list)
    is_bundled: bool = False
    guide: str | None = None

    def __len__(self) -> int:
        return sum(len(group.images) for group in self.groups)

    def prompts(self) -> list[str]:
        """Distinct prompts, in the order of the groups."""
        return list(dict.fromkeys(group.prompt for group in self.groups if group.prompt))


def read_image_sets(paths: Sequence[Path], prompt: str | None = None, truth: Path | None = None) -> list[ImageSet]:
    """Read one set for each trial folder and each folder of images, and one for all single files together.

    Args:
        paths: trial folders, folders of images or of trials, image files.
        prompt: prompt of all images; None: that of the run, or of prompts.txt or prompts.json in the folder.
        truth: folder with the ground truth of each image under its file name (answers to inverse problems: under the
            name of the measured image), or one image for all; None: the truths that a run on inverse problems keeps.

    Raises:
        UserError: a path does not exist or holds no image, or prompts or truths do not fit the images.
    """
    truths = None if truth is None else {file.stem: file for file in list_images(truth, "--truth")}
    files = [path for path in paths if path.is_file()]
    sets: list[ImageSet] = []
    for path in paths:
        if path in files:
            if path == files[0]:
                label = str(path) if len(files) == 1 else f"{len(files)} images"
                sets.append(ImageSet(label, [_file_group(files, truths)]))
        elif (path / "save").is_dir():
            sets.append(_read_trial(path, truths))
        else:
            trials = [] if _holds_images(path) else _find_trials(path)
            sets += [_read_trial(trial, truths) for trial in trials] or [_read_folder(path, truths, prompt)]
    if prompt is not None:
        for group in (group for each in sets for group in each.groups):
            group.prompt = prompt
    return sets


def list_reference(folder: Path, key: str) -> list[Path]:
    """Images of a folder, without the overview that `rsd toyworld render` writes.

    Args:
        folder: folder of images.
        key: setting that named it, for error messages.

    Raises:
        UserError: it holds no image.
    """
    files = list_images(folder, key)
    if (folder / "attributes.json").is_file():
        files = [file for file in files if file.name != "grid.png"]
    return files


def _find_trials(folder: Path) -> list[Path]:
    """Trial folders up to TRIAL_DEPTH levels below a folder, such as outputs/sweep/runs/TAG below outputs."""
    patterns = ["*/" * depth + "save/metrics.json" for depth in range(1, TRIAL_DEPTH + 1)]
    return sorted(file.parent.parent for pattern in patterns for file in folder.glob(pattern))


def _holds_images(folder: Path) -> bool:
    return folder.is_dir() and any(file.suffix.lower() in SUFFIXES for file in folder.iterdir())


def _read_folder(folder: Path, truths: dict[str, Path] | None, prompt: str | None) -> ImageSet:
    files = list_reference(folder, KEY)
    by_prompt: dict[str | None, list[Path]] = {}
    for file, text in zip(files, [prompt] * len(files) if prompt else _read_prompts(folder, files), strict=True):
        by_prompt.setdefault(text, []).append(file)
    return ImageSet(str(folder), [_file_group(group, truths, text) for text, group in by_prompt.items()])


def _file_group(files: Sequence[Path], truths: dict[str, Path] | None, prompt: str | None = None) -> Group:
    return Group(ImageFiles(files), prompt, _find_truths([file.stem for file in files], truths))


def _find_truths(names: Sequence[str], truths: dict[str, Path] | None) -> Sequence[Tensor] | None:
    """Truth of each image, by name."""
    if truths is None:
        return None
    if len(truths) == 1:
        return ImageFiles([*truths.values()] * len(names), "--truth")
    for name in names:
        if name not in truths:
            raise UserError(f"--truth has no image named {name!r}; accepted: one image for all, or one of each name.")
    return ImageFiles([truths[name] for name in names], "--truth")


def _read_prompts(folder: Path, files: Sequence[Path]) -> Sequence[str | None]:
    """Prompt of each file, from prompts.txt (a line per image, or one for all) or prompts.json ({file: prompt})."""
    lines, by_name = folder / "prompts.txt", folder / "prompts.json"
    if by_name.is_file():
        prompts = read_json(by_name)
        try:
            return [str(prompts[file.name]) for file in files]
        except (TypeError, KeyError) as error:
            raise UserError(
                f"{str(by_name)!r} lacks the prompt of an image ({first_line(error)}); "
                "accepted: an object {file name: prompt}."
            ) from error
    if not lines.is_file():
        return [None] * len(files)
    found = [line.strip() for line in read_text(lines).splitlines() if line.strip()]
    if len(found) not in (1, len(files)):
        raise UserError(
            f"{str(lines)!r} has {len(found)} prompts for {len(files)} images; accepted: one for all, or a line for "
            "each image in the order of the file names."
        )
    return found * (len(files) if len(found) == 1 else 1)


def _read_trial(folder: Path, truths: dict[str, Path] | None) -> ImageSet:
    save, metrics, config = folder / "save", read_metrics(folder) or {}, read_config(folder)
    prompt = metrics.get("prompt") or None
    test, views = save / "test", sorted(save.glob("it*-test/all"), key=lambda path: _number(path.parent.name))
    if "operator" in metrics:
        if not metrics.get("images"):
            raise damaged(save / "metrics.json", "it names no images")
        groups = _answers(test, list(metrics["images"]), truths)
    elif views:
        groups = _objects(views[-1], prompt, config)
    else:
        files = _particles(test)
        groups = [_file_group(files, truths, prompt)] if files else []
    if not groups:
        raise UserError(
            f"{str(folder)!r} holds no finished run: save/test/particle_*.png and save/it*-test are missing."
        )
    return ImageSet(str(folder), groups, _used_bundled_prior(config, metrics), _guide(config))


def _answers(test: Path, names: Sequence[str], truths: dict[str, Path] | None) -> list[Group]:
    """Groups of a run on inverse problems, one for each measured image."""
    groups = []
    for name in names:
        files = _particles(test / name)
        if not files:
            raise UserError(f"{str(test / name)!r} holds no particle_*.png; run the test again.")
        own = ImageFiles([test / name / "truth.png"] * len(files))
        found = _find_truths([name] * len(files), truths) or own
        groups.append(Group(ImageFiles(files), truths=found, one_measurement=True))
    return groups


def _objects(views: Path, prompt: str | None, config: dict[str, Any]) -> list[Group]:
    """Groups of a 3D run, one for each measured camera, from the pictures that show all objects side by side."""
    files = sorted(views.glob("*.png"), key=lambda file: _number(file.name))
    n = len([path for path in views.parent.glob("particle_*") if path.is_dir()])
    elevation = config.get("data.eval_elevation_deg") or ELEVATION
    if not isinstance(elevation, int | float):
        raise UserError(f"data.eval_elevation_deg={elevation!r} is impossible; accepted: a number of degrees.")
    groups = []
    for index in spread_views(len(files)) if files and n else []:
        images = to_tensor(open_image(files[index], KEY)).chunk(n, 2)
        azimuth = 360.0 * index / max(len(files) - 1, 1)  # the last view repeats the first
        groups.append(Group(images, prompt, camera=(azimuth, elevation)))
    return groups


def _particles(folder: Path) -> list[Path]:
    """Paths of particle_00.png ..., without the auxiliary images beside them."""
    files = [file for file in folder.glob("particle_*.png") if re.fullmatch(r"particle_\d+", file.stem)]
    return sorted(files, key=lambda file: _number(file.name))


def _number(name: str) -> int:
    found = re.search(r"\d+", name)
    return int(found.group()[:LONGEST_NUMBER]) if found else -1


def _used_bundled_prior(config: dict[str, Any], metrics: dict[str, Any]) -> bool:
    for section in ("system.guidance", "system"):
        if name := config.get(f"{section}.pretrained_model_name_or_path"):
            return str(name).startswith("bundled")
    return metrics.get("colors") is not None or str(config.get("system_type")).endswith("-inverse-system")


def _guide(config: dict[str, Any]) -> str | None:
    """Feature network of the repulsion; None without repulsion."""
    features, own = config.get("system.guidance.features"), config.get("system.features")
    if config.get("system.guidance.gamma"):  # a number, or a schedule
        return str(features or GUIDE)
    if config.get("system.solver.gamma"):
        return str(own or GUIDE)
    # In the following methods repulsion is part of the method.
    if config.get("system_type") == "particle-guidance-system" and config.get("system.strength") != 0:
        return str(own or GUIDE)
    if config.get("system.guidance_type") == "svgd-guidance":
        return str(features or "euclidean")
    return None
