"""Cache of text embeddings in the user's cache folder.

One safetensors file for each prompt. Its name is a digest of everything that the embedding depends on: the prompt; the
model, by hub id and commit, or by folder with the content of all small files of text encoder and tokenizer, and the
size and time of change of their weights; the variant and precision of the weights; the classes that load them; and the
versions of torch, transformers, tokenizers and sentencepiece. So an entry never has to be invalidated, and the folder
can be deleted at any time. A file also holds a digest of its embedding: a damaged one is computed again.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ...errors import first_line
from ...pretrained import Pretrained
from ..pipelines import is_bundled

LIBRARIES = ("torch", "transformers", "tokenizers", "sentencepiece")
WEIGHTS = {".safetensors", ".bin"}  # files that are too large to be read for a digest
PARTS = ("text_encoder", "tokenizer")


@dataclass
class Entry:
    """Embedding of a prompt.

    Attributes:
        embedding: (L, D).
        cut: end of the prompt that was cut off, because the prompt is longer than the text encoder takes.
    """

    embedding: Tensor
    cut: str = ""


def cache_folder() -> Path:
    """Folder of cached embeddings: within $RSD_CACHE, or else within the user's cache folder."""
    if "RSD_CACHE" in os.environ:
        return Path(os.environ["RSD_CACHE"]).expanduser() / "text_embeddings"
    base = os.environ.get("LOCALAPPDATA") or os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "rsd" / "text_embeddings"


def model_identity(
    source: Pretrained,
    revision: str | None,
    classes: Sequence[str],
    variant: str | None,
    dtype: torch.dtype,
    parts: Sequence[str] = PARTS,
    libraries: Sequence[str] = LIBRARIES,
) -> list[str]:
    """All that an embedding depends on beside the prompt.

    Args:
        source: the model.
        revision: revision that the user names.
        classes: classes of tokenizer and text encoder, and other facts.
        variant: variant of the weights, as chosen.
        dtype: precision of the text encoder.
        parts: subfolders with tokenizers and text encoders.
        libraries: libraries whose versions count.

    Raises:
        UserError: a file cannot be read.
    """
    model = source.name if is_bundled(source.name) else source.identity
    files = []
    if source.commit is None:
        try:
            files = [str(_file_identity(Path(source.location, part))) for part in parts]
        except OSError as error:
            raise source.error(f"its text encoder cannot be read ({first_line(error)})") from error
    else:
        revision = None  # the commit says it all
    return [model, str(revision), *files, *classes, str(variant), str(dtype), *map(_installed, libraries)]


def entry_path(identity: list[str], prompt: str, ending: str) -> Path:
    """File of a prompt's entry.

    Args:
        identity: see `model_identity`.
        prompt: the prompt.
        ending: end of the prompt that is kept when the prompt is too long.
    """
    content = json.dumps([*identity, prompt, ending])
    return cache_folder() / (hashlib.sha256(content.encode()).hexdigest() + ".safetensors")


def read_entry(file: Path) -> Entry | None:
    """Read an entry; None where there is none, or a damaged one."""
    try:
        with safe_open(file, "pt") as content:
            facts = content.metadata() or {}
            embedding: Tensor = content.get_tensor("embedding")
    except (OSError, SafetensorError, KeyError):
        return None
    return Entry(embedding, facts.get("cut", "")) if facts.get("digest") == _digest(embedding) else None


def write_entry(file: Path, entry: Entry) -> None:
    """Write an entry if possible, in one move: two processes may embed the same prompt."""
    embedding = entry.embedding.contiguous()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        os.close(handle)
        try:
            save_file({"embedding": embedding}, temporary, {"cut": entry.cut, "digest": _digest(embedding)})
            Path(temporary).replace(file)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except (OSError, SafetensorError):  # a full disk is either of them
        return


def _digest(embedding: Tensor) -> str:
    return hashlib.sha256(embedding.contiguous().view(torch.uint8).numpy().tobytes()).hexdigest()


def _file_identity(folder: Path) -> list[str]:
    """Name of each file in a folder, with its content's digest, or for weights with size and time of change."""
    identity = []
    for path in sorted(folder.rglob("*")):
        if not path.is_file():
            continue
        if path.suffix in WEIGHTS:
            facts = path.stat()
            identity.append(f"{path.name} {facts.st_size} {facts.st_mtime_ns}")
        else:
            identity.append(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}")
    return identity


def _installed(library: str) -> str:
    try:
        return f"{library} {version(library)}"
    except PackageNotFoundError:
        return f"{library} -"
