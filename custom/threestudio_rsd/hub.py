"""The Hugging Face Hub: files of its repositories, without a long wait where it cannot be reached."""

import os
import re
import threading
import time
from functools import lru_cache
from pathlib import Path

from .errors import first_line

PATIENCE = 5.0  # seconds to wait for the first answer; huggingface_hub alone retries for 24 s
MEMORY = 60.0  # seconds for which an answer, or its absence, is remembered
HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)  # OWNER/NAME

REASONS = {  # by the class of huggingface_hub's error
    "GatedRepoError": "its license must be accepted on https://huggingface.co/{repo}, and this machine logged in",
    "RepositoryNotFoundError": "the Hugging Face Hub has no such model, or it is private and needs a login",
    "RevisionNotFoundError": "it has no revision {revision!r}",
    "RemoteEntryNotFoundError": "it has no {filename}",
    "EntryNotFoundError": "it has no {filename}",
}


def is_hub_id(name: str) -> bool:
    """Whether a name has the form OWNER/NAME of the Hub's repositories."""
    return HUB_ID.fullmatch(name) is not None


def is_offline() -> bool:
    """Whether the Hub is out of reach: HF_HUB_OFFLINE is set, or it gives no answer within `PATIENCE`."""
    return _is_forbidden() or not _answers(int(time.monotonic() // MEMORY))


def hub_file(repo: str, filename: str, revision: str | None = None) -> Path:
    """File of a repository on the Hub, from the local cache or else downloaded.

    Args:
        repo: OWNER/NAME.
        filename: path within the repository.
        revision: branch, tag or commit; None: main.

    Returns:
        Its path in the local cache: `.../snapshots/COMMIT/` and the file name.

    Raises:
        OSError: it can neither be found in the cache nor downloaded; says why.
    """
    from huggingface_hub import constants, hf_hub_download

    offline = is_offline()
    try:
        cache = constants.HF_HUB_CACHE  # read at the time of the call; former versions of the library read it on import
        return Path(hf_hub_download(repo, filename, revision=revision, cache_dir=cache, local_files_only=offline))
    except (OSError, ValueError) as error:
        if offline:
            cause = "HF_HUB_OFFLINE is set" if _is_forbidden() else f"{_endpoint()} does not answer"
            raise OSError(f"{cause}, and the local cache does not hold {repo}/{filename}") from error
        reason = REASONS.get(type(error).__name__)
        if reason is None:
            raise
        raise OSError(reason.format(repo=repo, filename=filename, revision=revision)) from error


@lru_cache(maxsize=16)
def hub_file_names(repo: str, commit: str) -> tuple[str, ...]:
    """Paths of all files of a repository at a commit.

    Raises:
        OSError: the Hub cannot be reached.
    """
    from huggingface_hub import list_repo_files

    try:
        return tuple(list_repo_files(repo, revision=commit))
    except Exception as error:  # of the HTTP library, which differs between versions of huggingface_hub
        raise OSError(first_line(error)) from error


def _is_forbidden() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE) or os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}


def _endpoint() -> str:
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


@lru_cache(maxsize=1)
def _answers(_period: int) -> bool:
    """Whether the Hub answers at all, with any status. A thread waits, as looking up a name has no time limit."""
    from huggingface_hub.utils import get_session

    answered = threading.Event()

    def ask() -> None:
        try:
            get_session().head(_endpoint(), timeout=PATIENCE)
            answered.set()
        except Exception:  # of the HTTP library, which differs between versions of huggingface_hub
            return

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(PATIENCE)
    return answered.is_set()
