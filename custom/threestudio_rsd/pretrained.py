"""Pretrained models of diffusers and transformers: finding their files, and loading those that fit their config."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .errors import UserError, first_line
from .hub import hub_file, hub_file_names, is_hub_id, is_offline
from .quiet import quiet_models

WEIGHTS = re.compile(
    r"(diffusion_pytorch_model|pytorch_model|model)(?P<variant>\..+?)?(-\d+-of-\d+)?\.(safetensors|bin)"
)
FULL_REPORTS = "0.33"  # version of diffusers from which it reports unexpected weights while it saves memory
NAMED = 3  # keys that a message names
LORA = re.compile(r"lora_|base_layer")
UNFUSED = (
    "holds a LoRA that is not fused, which cannot be loaded; fuse it with diffusers (`pipeline.fuse_lora()`, "
    "`pipeline.unload_lora_weights()`) and save the pipeline again"
)
NEEDLESS = re.compile(r"(^|\.)(position_ids$|pooler\.)")  # keys that no caller needs, whether they are there or not
LAYER = re.compile(r"(?:^|\.)(?:layers?|block)\.(\d+)\.")


@dataclass(frozen=True)
class Pretrained:
    """Folder or hub repository of a pretrained model.

    Attributes:
        key: setting that names the model, for messages.
        name: the model, as the user names it.
        location: folder or hub id, for `from_pretrained`.
        commit: commit of a hub repository; None for a folder.
        accepted: what the setting accepts, for messages.
    """

    key: str
    name: str
    location: str
    commit: str | None
    accepted: str

    @property
    def is_folder(self) -> bool:
        """Whether all files lie in the folder `location`; a hub repository in the local cache does, without the Hub."""
        return Path(self.location).is_dir()

    @property
    def identity(self) -> str:
        """Folder, or hub id and commit: which model this is, for caches and logs."""
        if self.commit is None:
            return str(Path(self.location).resolve())
        cached = Path(self.location).parents[1].name.removeprefix("models--").replace("--", "/")
        return f"{cached if self.is_folder else self.location}@{self.commit}"

    def file_names(self, part: str = "") -> list[str]:
        """Names of the files in a subfolder.

        Raises:
            UserError: the folder cannot be read, or the Hub cannot be reached.
        """
        folder = Path(self.location, part)
        try:
            if self.is_folder:
                return sorted(path.name for path in folder.iterdir() if path.is_file()) if folder.is_dir() else []
            paths = [Path(name) for name in hub_file_names(self.location, self.commit or "main")]
        except OSError as error:
            raise self.error(f"its files cannot be listed ({first_line(error)})") from error
        return sorted(path.name for path in paths if path.parent == Path(part))

    def read_json(self, path: str) -> dict[str, Any]:
        """Content of a JSON file that holds an object, such as `vae/config.json`.

        Raises:
            UserError: the file is missing or damaged.
        """
        try:
            file = Path(self.location, path) if self.is_folder else hub_file(self.location, path, self.commit)
            content = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise self.error(f"its {path} cannot be loaded ({first_line(error)}); accepted: {self.accepted}") from error
        if not isinstance(content, dict):
            raise self.error(f"its {path} holds no JSON object; accepted: {self.accepted}")
        return content

    def error(self, problem: str) -> UserError:
        """Error that names the setting and its value."""
        return UserError(f"{self.key}={self.name!r}: {problem}.")


def find_pretrained(
    key: str, name: str, description: str, accepted: str, revision: str | None = None, model: str | None = None
) -> Pretrained:
    """Find a model by its folder or hub id.

    Args:
        key: setting that names the model, for messages.
        name: value of the setting: a folder, in which `~` is the home folder, or a hub id.
        description: file that every such model has, such as model_index.json.
        accepted: what the setting accepts, for messages.
        revision: revision of the hub id.
        model: folder or hub id, if `name` is a short name for it.

    Raises:
        UserError: there is no such folder, it is a file, or the hub id can be neither reached nor found in the cache.
    """
    model = name if model is None else model
    path = local_path(model)
    if path is not None and path.is_dir():
        return Pretrained(key, name, str(path), None, accepted)
    if path is not None:
        raise UserError(f"{key}={name!r} is a file; {_conversion(path)}accepted: {accepted}.")
    if not is_hub_id(model):
        raise UserError(f"{key}={name!r} does not exist; accepted: {accepted}.")
    try:
        file = hub_file(model, description, revision)
    except (OSError, ValueError) as error:
        raise UserError(
            f"{key}={name!r}: {'there is no such folder, and it' if model == name else model} cannot be loaded from "
            f"the Hugging Face Hub ({first_line(error)}); accepted: {accepted}."
        ) from error
    snapshot = file.parents[len(Path(description).parts) - 1]
    return Pretrained(key, name, str(snapshot) if is_offline() else model, snapshot.name, accepted)


def local_path(name: str) -> Path | None:
    """File or folder, in which `~` is the home folder; None where there is none."""
    try:
        path = Path(name).expanduser()
        return path if path.exists() else None
    except (OSError, ValueError, RuntimeError):  # a name that is too long, holds a NUL, or `~` of an unknown user
        return None


def _conversion(path: Path) -> str:
    """How to make a pipeline's folder from a single file."""
    if path.suffix not in {".safetensors", ".ckpt"}:
        return ""
    return (
        "convert it once with diffusers: `StableDiffusionPipeline.from_single_file(FILE).save_pretrained(FOLDER)`, and "
        "name that folder; "
    )


def choose_variant(source: Pretrained, part: str, variant: str | None = None) -> str | None:
    """Variant of a part's weights: None for files without one, `fp16` for files such as `model.fp16.safetensors`.

    Args:
        source: the model.
        part: its subfolder; empty: the folder itself.
        variant: variant to prefer, where the part has it; None: files without a variant, or else the only variant.

    Raises:
        UserError: there are no weights, or several variants to choose from.
    """
    found: dict[str | None, list[str]] = {}
    names = source.file_names(part)
    for name in names:
        match = WEIGHTS.fullmatch(name)
        if match:
            found.setdefault((match["variant"] or ".")[1:] or None, []).append(name)
    if variant in found:
        return variant
    if None in found:
        return None
    where = f"its folder {part!r}" if part else "it"
    if not found:
        raise source.error(f"{where} holds no weights ({', '.join(names) or 'it is empty or missing'}); save it again")
    if variant is not None or len(found) > 1:
        files = ", ".join(sorted(name for group in found.values() for name in group))
        raise source.error(f"{where} holds {files}; set the key `variant` to one of {', '.join(map(str, found))}")
    return next(iter(found))


def load_pretrained(
    model_class: Any,
    source: Pretrained,
    part: str = "",
    variant: str | None = None,
    unused: str | None = None,
    **options: Any,
) -> Any:
    """Load a model and check that its weights fit its config and are finite.

    Args:
        model_class: class of diffusers or transformers.
        source: the model.
        part: its subfolder; empty: the folder itself.
        variant: see `choose_variant`.
        unused: pattern of keys in the files that the class may leave out, such as the other half of a CLIP. Layers
            above the config's `num_hidden_layers` may always be left out.
        **options: further arguments of `from_pretrained`.

    Returns:
        The model, in eval mode.

    Raises:
        UserError: weights are missing, left over, of another shape or not finite, or the files cannot be read.
    """
    name = f"its {part}" if part else "the network"
    if "adapter_config.json" in source.file_names(part):  # transformers would load the model that it names
        raise source.error(f"{name} {UNFUSED}")
    chosen = choose_variant(source, part, variant)
    if part:
        options["subfolder"] = part
    if source.commit is not None and not source.is_folder:
        options["revision"] = source.commit
    if chosen is not None:
        options["variant"] = chosen
    try:
        with quiet_models():  # the report is ours
            model, report = model_class.from_pretrained(
                source.location, output_loading_info=True, **options, **_full_report(model_class)
            )
    except Exception as error:  # every library below has errors of its own, down to bare Exceptions
        if _holds_lora(source, part):
            raise source.error(f"{name} {UNFUSED}") from error
        raise source.error(f"{name} cannot be loaded as {model_class.__name__} ({first_line(error)})") from error
    missing = [key for key in report["missing_keys"] if not NEEDLESS.search(key)]
    unexpected = [key for key in report["unexpected_keys"] if not _is_unused(key, model, unused)]
    if any(LORA.search(key) for key in unexpected):
        raise source.error(f"{name} {UNFUSED}")
    if missing or unexpected:
        found = "; ".join(
            f"{kind} {_some(keys)}" for kind, keys in (("missing", missing), ("unexpected", unexpected)) if keys
        )
        raise source.error(f"the weights of {name} do not fit its config ({found}); save or download the model again")
    check_finite(model, source, name)
    return model.eval()


def check_finite(model: torch.nn.Module, source: Pretrained, name: str) -> None:
    """Check that all weights of a model are finite.

    Args:
        model: the model.
        source: where it comes from, for the message.
        name: the model in the message, such as "its vae".

    Raises:
        UserError: a weight is NaN or infinite.
    """
    for key, weight in model.state_dict().items():
        # The sum is NaN or infinite where a weight is.
        if weight.is_floating_point() and not weight.sum(dtype=torch.float32).isfinite():
            hint = ""
            if weight.dtype == torch.float16:
                hint = "; they may overflow in float16: half_precision_weights=false reads them in float32"
            raise source.error(f"the weights of {name} are not finite ({key}){hint}")


def _full_report(model_class: Any) -> dict[str, bool]:
    """Arguments with which an old diffusers reports all keys."""
    import diffusers
    from packaging import version

    is_old = version.parse(diffusers.__version__) < version.parse(FULL_REPORTS)
    return {"low_cpu_mem_usage": False} if is_old and issubclass(model_class, diffusers.ModelMixin) else {}


def _holds_lora(source: Pretrained, part: str) -> bool:
    """Whether the weights of a part in a folder are those of a LoRA, or of a model with one."""
    from safetensors import SafetensorError, safe_open

    try:
        for file in Path(source.location, part).glob("*.safetensors"):
            with safe_open(file, "pt") as weights:
                if any(LORA.search(key) for key in weights.keys()):  # noqa: SIM118 (not a dict)
                    return True
    except (OSError, SafetensorError):
        return False
    return False


def _is_unused(key: str, model: Any, unused: str | None) -> bool:
    """Whether a key is known to be harmless, or that of a layer above `num_hidden_layers` (CLIP skip)."""
    if NEEDLESS.search(key) or (unused is not None and re.search(unused, key)):
        return True
    layer = LAYER.search(key)
    count = getattr(model.config, "num_hidden_layers", None)
    return layer is not None and isinstance(count, int) and int(layer[1]) >= count and not LORA.search(key)


def _some(keys: Iterable[str]) -> str:
    """The first few keys, and the number of the others."""
    ordered = sorted(keys)
    rest = len(ordered) - NAMED
    return ", ".join(ordered[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
