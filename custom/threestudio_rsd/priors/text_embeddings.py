"""Text embeddings of diffusers pipelines, cached in the user's cache folder.

The text encoder is loaded for prompts that are not cached, and freed at once: a T5-XXL takes more memory than the rest.
"""

import gc
import hashlib
import os
import tempfile
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ..errors import UserError, first_line, one_of, require
from ..quiet import quiet_transformers
from .files import is_bundled, resolve_model
from .pipelines import pipeline_type

KINDS = {"clip": "stable-diffusion", "t5": "deep-floyd"}  # by the prior whose text encoder it is
VOCABULARIES = ("vocab.json", "spiece.model", "tokenizer.json")
T5_LENGTH = 77  # tokens; what DeepFloyd IF was trained with


def cache_folder() -> Path:
    """Where embeddings are kept: $RSD_CACHE, else the user's cache folder."""
    if "RSD_CACHE" in os.environ:
        return Path(os.environ["RSD_CACHE"]) / "text_embeddings"
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rsd" / "text_embeddings"


def embed_prompts(
    prompts: list[str],
    model: str,
    kind: str = "clip",
    revision: str | None = None,
    torch_dtype: torch.dtype = torch.float32,
    use_cache: bool = True,
) -> Tensor:
    """Embeddings of prompts of any length and alphabet (what the tokenizer cannot hold is cut off): (len, L, D), CPU.

    Args:
        prompts: at least one.
        model: `bundled`, `bundled-pixel`, a diffusers folder or a hub id.
        kind: text encoder of the model: `clip` (Stable Diffusion) or `t5` (DeepFloyd IF).
        revision: of the hub id.
        torch_dtype: precision of the text encoder and of the result.
        use_cache: read and write the cache.

    Raises:
        UserError: no prompt, an unknown kind, or a model that has no such text encoder.
    """
    one_of("text encoder", kind, tuple(KINDS))
    if not prompts:
        raise UserError("prompts=[] is impossible; accepted: at least one prompt.")
    files = {prompt: _cache_file(prompt, model, kind, revision, torch_dtype) for prompt in prompts}
    cached = {prompt: _read(file) for prompt, file in files.items()} if use_cache else {}
    known = {prompt: embedding for prompt, embedding in cached.items() if embedding is not None}
    missing = [prompt for prompt in files if prompt not in known]
    if missing:
        for prompt, embedding in zip(missing, _encode(missing, model, kind, revision, torch_dtype), strict=True):
            known[prompt] = embedding
            if use_cache:
                _write(files[prompt], embedding)
    return torch.stack([known[prompt] for prompt in prompts])


def _encode(prompts: list[str], model: str, kind: str, revision: str | None, torch_dtype: torch.dtype) -> Tensor:
    from transformers import AutoTokenizer, CLIPTextModel, CLIPTokenizer, T5EncoderModel

    pipeline_type(model, revision, expected=KINDS[kind])
    location = resolve_model(model)
    options = {}
    if kind == "t5":
        # Without tokenizer.json the slow one, which needs sentencepiece alone: older transformers convert only with an
        # old protobuf.
        options["use_fast"] = (Path(location) / "tokenizer" / "tokenizer.json").is_file()
        if not options["use_fast"]:
            require("sentencepiece", "deepfloyd")
        prompts = [prompt.lower().strip() for prompt in prompts]  # as DeepFloyd IF was trained
    classes = (CLIPTokenizer, CLIPTextModel) if kind == "clip" else (AutoTokenizer, T5EncoderModel)
    tokenizer_class, encoder_class = classes
    try:
        _check_vocabulary(Path(location))
        tokenizer = tokenizer_class.from_pretrained(
            location, subfolder="tokenizer", revision=revision or "main", **options
        )
        with quiet_transformers():
            encoder = encoder_class.from_pretrained(
                location, subfolder="text_encoder", revision=revision or "main", torch_dtype=torch_dtype
            )
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise UserError(
            f"pretrained_model_name_or_path={model!r}: its text encoder cannot be loaded ({first_line(error)}); "
            "accepted: bundled, a folder with a diffusers pipeline, or a hub id that can be reached."
        ) from error
    length = tokenizer.model_max_length if kind == "clip" else T5_LENGTH
    tokens = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    mask = tokens.attention_mask if kind == "t5" else None
    with torch.no_grad():
        embeddings = encoder.eval()(tokens.input_ids, attention_mask=mask)[0].to(torch_dtype)
    del encoder
    gc.collect()
    return embeddings


def _check_vocabulary(location: Path) -> None:
    """Raise OSError for a folder without tokenizer, of which transformers 5 would make an empty one."""
    folder = location / "tokenizer"
    if location.is_dir() and not any((folder / name).is_file() for name in VOCABULARIES):
        raise OSError(f"none of {', '.join(VOCABULARIES)} in {folder}")


def _cache_file(prompt: str, model: str, kind: str, revision: str | None, torch_dtype: torch.dtype) -> Path:
    location = Path(resolve_model(model))
    identity = [model, revision or "main", kind, str(torch_dtype), prompt]
    if location.is_dir():  # a folder's weights may be replaced under the same name
        weights = sorted(location.glob("text_encoder/*.safetensors")) + sorted(location.glob("text_encoder/*.bin"))
        identity[0] = model if is_bundled(model) else str(location.resolve())
        identity += [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in weights]
    return cache_folder() / (hashlib.sha256("\0".join(identity).encode()).hexdigest() + ".safetensors")


def _read(file: Path) -> Tensor | None:
    """A cached embedding; None where there is none, or only the rest of a write that was cut short."""
    try:
        return load_file(file)["embedding"]
    except (OSError, SafetensorError, KeyError):
        return None


def _write(file: Path, embedding: Tensor) -> None:
    """Write through a temporary file, as two processes may embed the same prompt; without a writable cache, none."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        os.close(handle)
        save_file({"embedding": embedding.contiguous()}, temporary)
        os.replace(temporary, file)
    except OSError:
        return
