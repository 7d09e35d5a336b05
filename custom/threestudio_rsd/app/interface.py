"""The page of the app: a tab for images, 3D objects and inverse problems, with Gradio."""

import shlex
import socket
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..errors import UserError, first_line, require, shorten
from ..files import data_path
from ..runs.workers import preload
from .commands import (
    IMAGE_METHODS,
    OBJECT_METHODS,
    OPERATORS,
    PAINTED,
    SOLVERS,
    AnswersForm,
    Form,
    ImagesForm,
    ObjectsForm,
    launch_command,
)
from .following import LiveRun, Progress

TITLE = "Repulsive Score Distillation"
EXAMPLES = "load/inverse/examples"
CANVAS = (256, 256)  # pixels of the image that is painted on
CSS = ".particles img {width: 100%; max-height: 70vh; object-fit: contain; image-rendering: auto}"
SYSTEM_FONTS = (["system-ui", "sans-serif"], ["ui-monospace", "monospace"])  # nothing is fetched from a network


class App:
    """State of the app: the folder of its results, and the run that computes.

    Args:
        output: folder of all runs.
    """

    def __init__(self, output: Path) -> None:
        self.output = output.resolve()
        self.run: LiveRun | None = None

    def start(self, kind: str, make_form: Callable[..., Form], *values: Any) -> Iterator[tuple[Any, ...]]:
        """Run a form; yields the values of the outputs: message, picture, curves, files, command line."""
        gradio = require("gradio", "app")
        folder = self.output / kind / f"{datetime.now():%Y%m%d-%H%M%S-%f}"
        try:
            arguments = launch_command(make_form(folder, *values), folder)
            shown = shlex.join(["rsd", *arguments])
            yield "Starting.", None, None, None, shown
            self.run = LiveRun(arguments, folder)
            for progress in self.run.follow():
                yield *_outputs(progress), shown
        except UserError as error:
            yield "Failed.", *[gradio.skip()] * 4
            raise gradio.Error(str(error), duration=None, print_exception=False) from error
        finally:
            self.stop()

    def stop(self) -> None:
        """Let the present run save and end."""
        if self.run is not None:
            self.run.stop()


def build(app: App) -> Any:
    """Page of the app.

    Args:
        app: its state.

    Returns:
        `gradio.Blocks`

    Raises:
        UserError: Gradio is not installed.
    """
    gradio = require("gradio", "app")
    with gradio.Blocks(title=TITLE, analytics_enabled=False) as page:
        gradio.Markdown(f"# {TITLE}\nN different images, 3D objects or answers from one diffusion model.")
        with gradio.Tab("Images"):
            _prompt_tab(gradio, app, "images", ImagesForm(), list(IMAGE_METHODS))
        with gradio.Tab("3D objects"):
            _prompt_tab(gradio, app, "objects", ObjectsForm(), list(OBJECT_METHODS))
        with gradio.Tab("Inverse problems"):
            _answers_tab(gradio, app)
    return page.queue(default_concurrency_limit=1)  # one run at a time, the others wait


def serve(app: App, host: str, port: int) -> None:
    """Serve the page until it is interrupted.

    Args:
        app: state of the app.
        host: address to listen at.
        port: port; 0: any that is free.

    Raises:
        UserError: Gradio is not installed, or the address cannot be used.
    """
    check_address(host, port)
    gradio = require("gradio", "app")
    page = build(app)
    theme = gradio.themes.Default(font=SYSTEM_FONTS[0], font_mono=SYSTEM_FONTS[1])
    options = {"share": False, "quiet": True, "show_error": True, "ssr_mode": False, "theme": theme, "css": CSS}
    page.launch(
        server_name=host,
        server_port=port or None,
        allowed_paths=[str(app.output)],
        prevent_thread_lock=True,
        **options,
    )
    preload(1)
    print(f"The app is at {page.local_url}. Ctrl-C ends it; the run that computes is saved.", flush=True)
    try:
        page.block_thread()
    finally:
        app.stop()
        page.close()


def check_address(host: str, port: int) -> None:
    """Check that a server can listen at an address.

    Args:
        host: name or address of this machine.
        port: port; 0: any.

    Raises:
        UserError: it cannot.
    """
    try:
        socket.create_server((host, port)).close()
    except (OSError, UnicodeError) as error:
        raise UserError(
            f"--host={shorten(host)} --port={port} cannot be used ({first_line(error)}); accepted: an address of this "
            "machine, such as 127.0.0.1, and a free port, or 0 to choose one."
        ) from error


def _prompt_tab(gradio: Any, app: App, kind: str, default: ImagesForm | ObjectsForm, methods: list[str]) -> None:
    """Tab of images or of 3D objects."""
    with gradio.Row():
        with gradio.Column(scale=1):
            inputs = [
                gradio.Textbox(default.prompt, label="Prompt"),
                gradio.Dropdown(methods, value=default.method, label="Method"),
                *_numbers(gradio, default),
            ]
            buttons = _buttons(gradio)
        outputs = _output_column(gradio)
    _connect(app, buttons, partial(app.start, kind, partial(_prompt_form, type(default))), inputs, outputs)


def _answers_tab(gradio: Any, app: App) -> None:
    """Tab of inverse problems."""
    default = AnswersForm()
    examples = [str(data_path(EXAMPLES) / f"{name}.png") for name in ("mushroom", "car", "house")]
    with gradio.Row():
        with gradio.Column(scale=1):
            editor = gradio.ImageEditor(
                label="Image; paint over what is hidden", type="pil", canvas_size=CANVAS, sources=["upload"]
            )
            gradio.Examples(examples, inputs=editor, label="Examples", cache_examples=False)
            inputs = [
                editor,
                gradio.Dropdown(list(OPERATORS), value=default.operator, label="Measurement"),
                gradio.Dropdown(list(SOLVERS), value=default.solver, label="Solver"),
                *_numbers(gradio, default),
            ]
            buttons = _buttons(gradio)
        outputs = _output_column(gradio)
    _connect(app, buttons, partial(app.start, "answers", _answers_form), inputs, outputs)


def _numbers(gradio: Any, default: Any) -> list[Any]:
    return [
        gradio.Number(default.n_particles, label="Number of particles N", precision=0),
        gradio.Number(default.gamma, label="Repulsion gamma"),
        gradio.Number(default.steps, label="Steps", precision=0),
        gradio.Number(default.seed, label="Seed", precision=0),
        gradio.Textbox(default.prior, label="Prior: bundled, a folder or a hub id"),
    ]


def _buttons(gradio: Any) -> tuple[Any, Any]:
    with gradio.Row():
        return gradio.Button("Run", variant="primary"), gradio.Button("Stop")


def _output_column(gradio: Any) -> list[Any]:
    with gradio.Column(scale=2):
        message = gradio.Textbox(label="State", interactive=False)
        picture = gradio.Image(label="Particles", type="filepath", interactive=False, elem_classes="particles")
        curves = gradio.LinePlot(x="step", y="value", color="curve", label="Curves", height=240)
        files = gradio.Files(label="Files", interactive=False)
        command = gradio.Code(label="The same on the command line", language="shell", interactive=False)
    return [message, picture, curves, files, command]


def _connect(app: App, buttons: tuple[Any, Any], start: Any, inputs: list[Any], outputs: list[Any]) -> None:
    run, stop = buttons
    run.click(start, inputs, outputs, concurrency_id="run", concurrency_limit=1, api_visibility="private")
    stop.click(app.stop, queue=False, api_visibility="private")


def _prompt_form(form: type[ImagesForm] | type[ObjectsForm], folder: Path, *values: Any) -> Form:
    prompt, method, *numbers = values
    return form(prompt, method, *_checked(numbers))


def _answers_form(
    folder: Path, edited: dict[str, Any] | None, operator: str, solver: str, *numbers: Any
) -> AnswersForm:
    """Form of the inverse problem; writes the image, and the mask where one is painted, beside the trial folder."""
    if edited is None or edited["background"] is None:
        return AnswersForm(None, operator, None, solver, *_checked(numbers))
    inputs = folder.with_name(f"{folder.name}-inputs")
    inputs.mkdir(parents=True)
    image = inputs / "image.png"
    edited["background"].convert("RGB").save(image)
    mask = painted_mask(edited["layers"], inputs / "mask.png") if operator == PAINTED else None
    return AnswersForm(image, operator, mask, solver, *_checked(numbers))


def painted_mask(layers: list[Image.Image], path: Path) -> Path | None:
    """Write the mask of painted layers, black where something is painted.

    Args:
        layers: images with an alpha channel, all of one size.
        path: file to write.

    Returns:
        `path`; None if nothing is painted.
    """
    painted = np.zeros((1, 1), dtype=bool)
    for layer in layers:
        painted = painted | (np.asarray(layer.convert("RGBA"))[..., 3] > 0)
    if not painted.any():
        return None
    Image.fromarray(np.where(painted, 0, 255).astype(np.uint8)).save(path)
    return path


def _checked(numbers: Any) -> list[Any]:
    """Numbers of a form, of which none is empty; N, gamma, steps, seed, prior."""
    names = ("Number of particles N", "Repulsion gamma", "Steps", "Seed", "Prior")
    for name, value in zip(names, numbers, strict=True):
        if value is None or value == "":
            raise UserError(f"{name} is empty; accepted: a value.")
    n, gamma, steps, seed, prior = numbers
    return [int(n), float(gamma), int(steps), int(seed), str(prior)]


def _outputs(progress: Progress) -> tuple[Any, ...]:
    """Message, picture, curves and files for the page."""
    import pandas as pd

    rows = [(step, value, name) for name, curve in progress.curves.items() for step, value in curve]
    curves = pd.DataFrame(rows, columns=["step", "value", "curve"]) if rows else None
    files = [str(file) for file in progress.files] or None
    return progress.message, progress.picture and str(progress.picture), curves, files
