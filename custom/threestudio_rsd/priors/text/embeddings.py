"""Text embeddings of diffusers pipelines, cached in the user's cache folder.

The text encoder is loaded only for prompts that are not cached, and freed at once: a T5-XXL takes more memory than all
other parts of DeepFloyd IF together.
"""

import gc
from collections.abc import Callable, Collection, Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import UserError, first_line, one_of, require
from ...log import warn
from ...pretrained import Pretrained, choose_variant, load_pretrained
from ..families.packing import stack_padded
from ..families.registry import FAMILIES
from ..families.single_file import is_single_file
from ..pipelines import Pipeline, find_pipeline
from .cache import Entry, entry_path, model_identity, read_entry, write_entry
from .family_encoder import FamilyEncoder, FileEncoder
from .tokenizing import expand_tokens, fit_prompt

KINDS = {"clip": "stable-diffusion", "t5": "deep-floyd"}  # type of the prior by the kind of its text encoder
CLASSES = {"clip": ("CLIPTokenizer", "CLIPTextModel"), "t5": ("AutoTokenizer", "T5EncoderModel")}
VOCABULARIES = ("vocab.json", "spiece.model", "tokenizer.json", "vocab.txt", "sentencepiece.bpe.model")
T5_LENGTH = 77  # tokens, as in the training of DeepFloyd IF
UNUSED = r"^(vision_model|visual_projection|text_projection|logit_scale|decoder|lm_head|cls)\b"  # other half or heads
SHOWN = 60  # characters of a prompt in a message


def embed_prompts(
    prompts: list[str],
    model: str,
    kind: str = "clip",
    revision: str | None = None,
    torch_dtype: torch.dtype = torch.float32,
    use_cache: bool = True,
    variant: str | None = None,
    endings: Mapping[str, str] | None = None,
    negatives: Collection[str] = (),
    device: torch.device | str = "cpu",
    base_model: str | None = None,
) -> Tensor:
    """Text embeddings of prompts. What a prompt loses because it is too long is named in a warning.

    Args:
        prompts: at least one prompt, in any language; prompts longer than the text encoder takes are cut off.
        model: `bundled`, `bundled-pixel`, `bundled-flow`, a diffusers folder, a hub id or a .safetensors file.
        kind: kind of text encoder: `clip` (Stable Diffusion; any that the pipeline itself can use), `t5` (DeepFloyd
            IF), or a registered type of prior, such as `flux`, whose pipeline's own `encode_prompt` is used.
        revision: revision of the hub id.
        torch_dtype: precision of the text encoder and of the result.
        use_cache: read and write the cache, see `embedding_cache`.
        variant: variant of the weights to prefer; see `choose_variant`.
        endings: the end of a prompt, such as ", front view", by the prompt; a prompt that is too long keeps it. Ignored
            with registered types, whose pipelines cut prompts off as they do.
        negatives: those of the prompts that are negative prompts, which some pipelines embed in another way.
        device: where registered types run their text encoders.
        base_model: pipeline of a model in a single file, see `load_prior`; its text encoders are used.

    Returns:
        (len(prompts), L, D), on the CPU; with registered types as their `encode_text` packs it.

    Raises:
        UserError: no prompt or one that is no valid text, an unknown kind, or a model that has no such text encoder.

    Example:
        >>> embed_prompts(["a mushroom", "a blue cup"], "bundled").shape
        torch.Size([2, 16, 128])
    """
    one_of("text encoder", kind, (*KINDS, *FAMILIES))
    if not prompts:
        raise UserError("prompts=[] is impossible; accepted: at least one prompt.")
    for prompt in prompts:
        _check_text(prompt)
    if is_single_file(model):
        model, revision = base_model or model, None
    is_file = is_single_file(model)
    if kind in FAMILIES or is_file:
        encoder: FileEncoder | FamilyEncoder
        if is_file:
            encoder = FileEncoder(model, KINDS.get(kind, kind), torch_dtype)
        else:
            encoder = FamilyEncoder(FAMILIES[kind], model, revision, variant, torch_dtype, device)
        marked = {prompt: "negative" if prompt in negatives else "" for prompt in prompts}
        known = _cached(marked, encoder.identity, encoder, use_cache)
        return stack_padded([known[prompt].embedding for prompt in prompts])
    pipeline = find_pipeline(model, revision, KINDS[kind], variant)
    classes = _classes(pipeline, kind)
    chosen = choose_variant(pipeline.source, "text_encoder", variant)
    identity = model_identity(pipeline.source, revision, classes, chosen, torch_dtype)
    ended = {prompt: (endings or {}).get(prompt, "") for prompt in prompts}
    known = _cached(ended, identity, lambda missing: _encode(missing, pipeline, kind, classes, torch_dtype), use_cache)
    _warn_of_cuts({prompt: known[prompt].cut for prompt in ended})
    return torch.stack([known[prompt].embedding for prompt in prompts])


def _cached(
    prompts: dict[str, str], identity: list[str], encode: Callable[[dict[str, str]], list[Entry]], use_cache: bool
) -> dict[str, Entry]:
    """Entries of prompts, given with their endings or marks, from the cache or else from `encode`."""
    files = {prompt: entry_path(identity, prompt, ending) for prompt, ending in prompts.items()}
    cached = {prompt: read_entry(file) for prompt, file in files.items()} if use_cache else {}
    known = {prompt: entry for prompt, entry in cached.items() if entry is not None}
    missing = {prompt: ending for prompt, ending in prompts.items() if prompt not in known}
    if missing:
        for prompt, entry in zip(missing, encode(missing), strict=True):
            known[prompt] = entry
            if use_cache:
                write_entry(files[prompt], entry)
    return known


def _check_text(prompt: str) -> None:
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"prompt={prompt!r} is no valid text ({error.reason}); accepted: Unicode text.") from error


def _warn_of_cuts(cuts: dict[str, str]) -> None:
    cut = {prompt: text for prompt, text in cuts.items() if text}
    if cut:
        prompt, text = next(iter(cut.items()))
        start = prompt if len(prompt) <= SHOWN else f"{prompt[:SHOWN]}..."
        more = f" (and of {len(cut) - 1} more prompts)" if len(cut) > 1 else ""
        warn(f"The text encoder takes fewer tokens than the prompt {start!r} has; it does not see {text!r}{more}.")


def _classes(pipeline: Pipeline, kind: str) -> tuple[str, str]:
    """Names of the classes of tokenizer and text encoder, in transformers."""
    tokenizer, encoder = (pipeline.class_name(part, "transformers") for part in ("tokenizer", "text_encoder"))
    default_tokenizer, default_encoder = CLASSES[kind]
    if kind == "t5":
        pipeline.check_class("text_encoder", [encoder], (default_encoder,))
        return default_tokenizer, default_encoder
    return tokenizer or default_tokenizer, encoder or default_encoder


def _encode(
    prompts: dict[str, str], pipeline: Pipeline, kind: str, classes: tuple[str, str], torch_dtype: torch.dtype
) -> list[Entry]:
    """Embed prompts, given with their endings."""
    tokenizer = _load_tokenizer(pipeline.source, kind, classes[0])
    encoder = _load_encoder(pipeline, classes[1], torch_dtype)
    limit = T5_LENGTH if kind == "t5" else _limit(tokenizer, encoder, pipeline.source)
    fitted = []
    for prompt, ending in prompts.items():
        if kind == "t5":  # in lower case, as DeepFloyd IF was trained
            fitted.append(fit_prompt(tokenizer, prompt.lower().strip(), limit, ending.lower().rstrip()))
        else:
            fitted.append(fit_prompt(tokenizer, expand_tokens(tokenizer, prompt), limit, ending))
    texts = [text for text, _ in fitted]
    tokens = tokenizer(texts, padding="max_length", max_length=limit, truncation=True, return_tensors="pt")
    masked = kind == "t5" or getattr(encoder.config, "use_attention_mask", False)  # as diffusers' pipelines do
    try:
        with torch.no_grad():
            output = encoder(tokens.input_ids, attention_mask=tokens.attention_mask if masked else None)
            embeddings: Tensor = output[0].to(torch_dtype)
    except (RuntimeError, IndexError, ValueError, TypeError) as error:
        problem = f"its text_encoder, a {classes[1]}, cannot embed a prompt ({first_line(error)})"
        raise pipeline.source.error(problem) from error
    del encoder
    gc.collect()
    if embeddings.ndim != 3 or not embeddings.isfinite().all():
        raise pipeline.source.error(
            f"its text_encoder, a {classes[1]}, gives embeddings of shape {tuple(embeddings.shape)} that are "
            f"{'finite' if embeddings.isfinite().all() else 'not finite'}; accepted: finite ones of shape (B, L, D)"
        )
    return [Entry(embedding, cut) for embedding, (_, cut) in zip(embeddings, fitted, strict=True)]


def _limit(tokenizer: Any, encoder: Any, source: Pretrained) -> int:
    """Number of tokens that a text encoder takes: the least of what tokenizer and text encoder name."""
    positions = getattr(encoder.config, "max_position_embeddings", None)
    limit = min(tokenizer.model_max_length, positions or tokenizer.model_max_length)
    if not 2 < limit < 1e6:  # a tokenizer without model_max_length has 1e30
        raise source.error(
            f"its tokenizer_config.json has model_max_length={limit:g}; set it to the number of tokens of the text "
            "encoder, such as 77"
        )
    return int(limit)


def _load_tokenizer(source: Pretrained, kind: str, class_name: str) -> Any:
    import transformers

    options: dict[str, Any] = {} if source.is_folder else {"revision": source.commit}
    names = source.file_names("tokenizer")
    if not any(name in names for name in VOCABULARIES):  # transformers 5 would make an empty tokenizer
        raise source.error(
            f"its tokenizer cannot be loaded (none of {', '.join(VOCABULARIES)} in its folder 'tokenizer')"
        )
    if kind == "t5":
        # Without tokenizer.json, the slow tokenizer, which needs only sentencepiece: older versions of transformers
        # need an old protobuf to convert it to a fast one.
        options["use_fast"] = "tokenizer.json" in names
        if not options["use_fast"]:
            require("sentencepiece", "deepfloyd")
    tokenizer_class = getattr(transformers, class_name, transformers.AutoTokenizer)
    try:
        return tokenizer_class.from_pretrained(source.location, subfolder="tokenizer", **options)
    except Exception as error:  # the tokenizers library raises bare Exceptions
        raise source.error(f"its tokenizer cannot be loaded as {class_name} ({first_line(error)})") from error


def _load_encoder(pipeline: Pipeline, class_name: str, torch_dtype: torch.dtype) -> Any:
    import transformers

    encoder_class = getattr(transformers, class_name, None)
    if encoder_class is None:
        raise pipeline.source.error(f"its text_encoder is a {class_name}, which transformers does not have")
    return load_pretrained(
        encoder_class, pipeline.source, "text_encoder", pipeline.variant, UNUSED, torch_dtype=torch_dtype
    )
