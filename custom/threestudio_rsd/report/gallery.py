"""Images of a report: for each prompt and seed those of every setting, and the choices between them."""

import base64
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

from ..images.reading import open_image
from ..metrics.names import network_title
from ..runs.trial import DIVERSITY
from .study import CaseResult, RestoredImage, Study, count, join_texts, seed_title

KEY = "The image"  # name of an image in errors
GAP = 2  # white pixels between images of separate runs, as in a grid
LOSSLESS_BYTES = 1_500_000  # size of all files up to which the page holds them lossless
QUALITY = 90  # of WebP, where the files are larger
SMALL = 128  # pixels: images up to this size are shown pixel by pixel
TALL = 1.5  # ratio of height to width from which a sheet is limited to the height of the screen


@dataclass(frozen=True)
class Picture:
    """An image for a page.

    Attributes:
        uri: WebP as a data URI.
        width, height: size in pixels.
        is_small: whether the particles have few pixels.
        alt: description.
    """

    uri: str
    width: int
    height: int
    is_small: bool
    alt: str = ""

    @property
    def is_tall(self) -> bool:
        """Whether the image would be higher than a screen at full width."""
        return self.height > TALL * self.width


@dataclass
class Shown:
    """Images of one setting for a prompt and seed.

    Attributes:
        setting: index of the setting.
        label: name of the setting.
        curve: index of its curve, None if it is on none.
        content: what the picture shows.
        picture: grid or contact sheet.
        videos: turntables as data URIs.
        values: measured diversity as text.
        problem: why there is no picture.
    """

    setting: int
    label: str
    curve: int | None
    content: str = ""
    picture: Picture | None = None
    videos: list[str] = field(default_factory=list)
    values: str = ""
    problem: str = ""


@dataclass
class AnswerRow:
    """Answers of one setting to a measurement.

    Attributes:
        setting: index of the setting.
        label: name of the setting.
        curve: index of its curve, None if it is on none.
        pictures: pictures of the answers in a row, of their mean and of their deviation, by heading.
    """

    setting: int
    label: str
    curve: int | None
    pictures: dict[str, Picture]


@dataclass
class Restoration:
    """A measurement with its truth, and the answers of every setting.

    Attributes:
        name: name of the image.
        given: pictures of measurement and truth by name.
        rows: answers of the settings.
    """

    name: str
    given: dict[str, Picture]
    rows: list[AnswerRow] = field(default_factory=list)

    @property
    def headings(self) -> list[str]:
        """Headings of the columns of pictures."""
        return list(dict.fromkeys(heading for row in self.rows for heading in row.pictures))


@dataclass
class Section:
    """Images of one prompt and seed.

    Attributes:
        title: prompt and seed.
        prompt: index of the prompt.
        seed: index of the seed.
        shown: images of each setting.
        restorations: answers to inverse problems.
    """

    title: str
    prompt: int
    seed: int
    shown: list[Shown] = field(default_factory=list)
    restorations: list[Restoration] = field(default_factory=list)


@dataclass
class Gallery:
    """All images of a page, and what can be chosen.

    Attributes:
        prompts: prompts to choose from.
        seeds: seeds to choose from.
        buttons: keys and labels of settings and curves to choose from; empty where there is one setting.
        sections: images of each prompt and seed.
    """

    prompts: list[str]
    seeds: list[str]
    buttons: dict[str, str]
    sections: list[Section]


def make_gallery(study: Study) -> Gallery:
    """Encode all images of a study."""
    prompts = list(dict.fromkeys(prompt for prompt, _ in study.cases))
    seeds = sorted({seed for _, seed in study.cases}, key=lambda seed: -1 if seed is None else seed)
    encoder = Encoder(study)
    sections = []
    for prompt, seed in study.cases:
        section = Section(join_texts(prompt, seed_title(seed)), prompts.index(prompt), seeds.index(seed))
        for index, setting in enumerate(study.settings):
            case = next((case for case in setting.cases if case.key == (prompt, seed)), None)
            if case is None:
                section.shown += encoder.show_gap(index, prompt, seed)
            elif case.restored:
                encoder.add_answers(section.restorations, index, case)
            else:
                section.shown.append(encoder.show(index, case))
        sections.append(section)
    return Gallery(prompts, ["-" if seed is None else str(seed) for seed in seeds], _buttons(study), sections)


class Encoder:
    """Encodes the images of a study as WebP; lossless where all files together are small.

    Args:
        study: study of the page.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        files: list[Path | None] = []
        for case in (case for setting in study.settings for case in setting.cases):
            files += [] if case.restored else case.images
            for image in case.restored:
                files += [*image.answers, image.mean, image.deviation, image.measurement, image.truth]
        self.lossless = sum(file.stat().st_size for file in files if file) <= LOSSLESS_BYTES

    def show(self, index: int, case: CaseResult) -> Shown:
        """Grid or contact sheet, turntables and diversity of a case.

        Args:
            index: index of its setting.
            case: case to show.
        """
        label, curve = self._name(index)
        shown = Shown(index, label, curve, case.content, problem="" if case.images else "Its images are gone.")
        if case.images:
            shown.picture = encode(case.images, self.lossless, join_texts(label, case.prompt, seed_title(case.seed)))
        shown.videos = [_data_uri("video/mp4", file.read_bytes()) for file in case.videos]
        values = [
            f"{network_title(network)} {case.values[DIVERSITY + network]:.3f}"
            for network in self.study.networks
            if DIVERSITY + network in case.values
        ]
        shown.values = f"diversity: {', '.join(values)}" if values else ""
        return shown

    def show_gap(self, index: int, prompt: str, seed: int | None) -> list[Shown]:
        """Why a setting has no result for a prompt and seed; empty where none was planned."""
        label, curve = self._name(index)
        gaps = [each for each in self.study.missing if (each.setting, each.prompt, each.seed) == (label, prompt, seed)]
        return [Shown(index, label, curve, problem=f"No result: {each.error or 'not computed'}") for each in gaps[:1]]

    def add_answers(self, restorations: list[Restoration], index: int, case: CaseResult) -> None:
        """Add the answers of a case; settings with the same measurement and truth share a `Restoration`.

        Args:
            restorations: what is there; extended in place.
            index: index of the setting.
            case: case with answers.
        """
        label, curve = self._name(index)
        for image in case.restored:
            files = {"measurement": image.measurement, "truth": image.truth}
            given = {
                name: encode([file], self.lossless, f"{image.name}: {name}") for name, file in files.items() if file
            }
            # Pictures are equal where the files have the same pixels.
            restoration = next((each for each in restorations if (each.name, each.given) == (image.name, given)), None)
            if restoration is None:
                restoration = Restoration(image.name, given)
                restorations.append(restoration)
            restoration.rows.append(AnswerRow(index, label, curve, self._answers(image, label)))

    def _answers(self, image: RestoredImage, label: str) -> dict[str, Picture]:
        files = {
            count(len(image.answers), "answer"): image.answers,
            "mean": [image.mean] if image.mean else [],
            "deviation": [image.deviation] if image.deviation else [],
        }
        return {
            heading: encode(each, self.lossless, f"{image.name}: {label}, {heading}")
            for heading, each in files.items()
            if each
        }

    def _name(self, index: int) -> tuple[str, int | None]:
        """Label of a setting, and the index of its curve."""
        setting = self.study.settings[index]
        return setting.label, self.study.curves.index(setting.curve) if setting.curve else None


def encode(files: Sequence[Path], lossless: bool, alt: str = "") -> Picture:
    """WebP of one image, or of several of the same size in a row.

    Args:
        files: image files.
        lossless: whether to keep every pixel as it is.
        alt: description.
    """
    image = _row([open_image(file, KEY) for file in files])
    buffer = io.BytesIO()
    if lossless:
        image.save(buffer, "WEBP", lossless=True, quality=50, method=2)
    else:
        image.save(buffer, "WEBP", quality=QUALITY)
    uri = _data_uri("image/webp", buffer.getvalue())
    return Picture(uri, image.width, image.height, _particle_size(files[0]) <= SMALL, alt)


def _buttons(study: Study) -> dict[str, str]:
    """Labels of the buttons that choose settings by key: all, the members of a curve, or one setting."""
    if len(study.settings) < 2:
        return {}
    buttons = {"all": "All"}
    for index, curve in enumerate(study.curves):
        members = [setting for setting in study.settings if setting.curve == curve]
        if 1 < len(members) < len(study.settings):
            buttons[f"curve-{index}"] = f"{curve}: all"
    return buttons | {str(index): setting.label for index, setting in enumerate(study.settings)}


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def _row(images: Sequence[Image.Image]) -> Image.Image:
    """Images of one size in a row."""
    if len(images) == 1:
        return images[0]
    width, height = images[0].size
    row = Image.new("RGB", (len(images) * (width + GAP) - GAP, height), "white")
    for index, image in enumerate(images):
        row.paste(image, (index * (width + GAP), 0))
    return row


def _particle_size(grid: Path) -> int:
    """Longer side of one particle's image in a folder beside the grid; the grid's shorter side if there is none."""
    for file in grid.parent.glob("*test*/**/*.png"):
        return max(open_image(file, KEY).size)
    return min(open_image(grid, KEY).size)
