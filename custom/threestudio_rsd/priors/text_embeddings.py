"""Text embeddings of diffusers pipelines, cached in the user's cache folder.

The text encoder is loaded only for prompts that are not cached, and freed at once: a T5-XXL takes more memory than all
other parts of DeepFloyd IF together.
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
from .pipelines import is_bundled, pipeline_type, resolve_model

KINDS = {"clip": "stable-diffusion", "t5": "deep-floyd"}  # type of the prior by the kind of its text encoder
VOCABULARIES = ("vocab.json", "spiece.model", "tokenizer.json")
T5_LENGTH = 77  # tokens, as in the training of DeepFloyd IF


def cache_folder() -> Path:
    """Folder of cached embeddings: within $RSD_CACHE, or else within the user's cache folder."""
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
    """Text embeddings of prompts.

    Args:
        prompts: at least one prompt, in any language; prompts longer than the tokenizer's limit are cut off.
        model: `bundled`, `bundled-pixel`, a diffusers folder or a hub id.
        kind: text encoder of the model: `clip` (Stable Diffusion) or `t5` (DeepFloyd IF).
        revision: revision of the hub id.
        torch_dtype: precision of the text encoder and of the result.
        use_cache: read and write the cache.

    Returns:
        (len(prompts), L, D), on the CPU.

    Raises:
        UserError: no prompt, an unknown kind, or a model that has no such text encoder.

    Example:
        >>> embed_prompts(["a mushroom", "a blue cup"], "bundled").shape
        torch.Size([2, 16, 128])
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
        # Without tokenizer.json, the slow tokenizer, which needs only sentencepiece: older versions of transformers
        # need an old protobuf to convert it to a fast one.
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
            "accepted: bundled, bundled-pixel, a folder with a diffusers pipeline, or a hub id that can be reached."
        ) from error
    length = tokenizer.model_max_length if kind == "clip" else T5_LENGTH
    tokens = tokenizer(prompts, padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    mask = tokens.attention_mask if kind == "t5" else None
    with torch.no_grad():
        embeddings: Tensor = encoder.eval()(tokens.input_ids, attention_mask=mask)[0].to(torch_dtype)
    del encoder
    gc.collect()
    return embeddings


def _check_vocabulary(location: Path) -> None:
    """Raise OSError for a folder without tokenizer, for which transformers 5 would create an empty tokenizer."""
    folder = location / "tokenizer"
    if location.is_dir() and not any((folder / name).is_file() for name in VOCABULARIES):
        raise OSError(f"none of {', '.join(VOCABULARIES)} in {folder}")


def _cache_file(prompt: str, model: str, kind: str, revision: str | None, torch_dtype: torch.dtype) -> Path:
    location = Path(resolve_model(model))
    identity = [model, revision or "main", kind, str(torch_dtype), prompt]
    if location.is_dir():  # weights may be replaced by others of the same name
        weights = sorted(location.glob("text_encoder/*.safetensors")) + sorted(location.glob("text_encoder/*.bin"))
        identity[0] = model if is_bundled(model) else str(location.resolve())
        identity += [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in weights]
    return cache_folder() / (hashlib.sha256("\0".join(identity).encode()).hexdigest() + ".safetensors")


def _read(file: Path) -> Tensor | None:
    """Read a cached embedding; None where there is none, or only a part of one, after an interrupted write."""
    try:
        return load_file(file)["embedding"]
    except (OSError, SafetensorError, KeyError):
        return None


def _write(file: Path, embedding: Tensor) -> None:
    """Write an embedding to the cache if possible, in one move: two processes may embed the same prompt."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        os.close(handle)
        save_file({"embedding": embedding.contiguous()}, temporary)
        Path(temporary).replace(file)
    except OSError:
        return
