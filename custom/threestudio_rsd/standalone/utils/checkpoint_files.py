"""Checkpoint files with a checksum of their content, and reasons why a file is damaged."""

import hashlib
import os
import struct
import zipfile
from pathlib import Path

TAG = b"sha256:"
SIGNATURE = len(TAG) + 2 * hashlib.sha256().digest_size  # bytes of the comment at the end of the file
END, END_MARK, NO_COMMENT = 22, b"PK\5\6", b"\0\0"  # last record of a ZIP archive: length, first and last bytes
BLOCK = 1 << 20  # bytes read at once


def sign(path: Path) -> None:
    """Append the SHA-256 of a file that torch.save wrote, as the comment of the ZIP archive that the file is.

    Every program that reads ZIP archives, torch.load too, still reads it.

    Args:
        path: the file.
    """
    with path.open("r+b") as file:
        file.seek(-2, os.SEEK_END)
        file.write(struct.pack("<H", SIGNATURE))  # length of the comment; torch.save writes none
        file.seek(0)
        digest = hashlib.sha256()
        while block := file.read(BLOCK):
            digest.update(block)
        file.write(TAG + digest.hexdigest().encode())
        file.flush()
        os.fsync(file.fileno())


def damage(path: Path) -> str | None:
    """Reason why a checkpoint is damaged; None if it is whole.

    Args:
        path: file of `sign`; of other ZIP archives, such as checkpoints of threestudio, the CRC-32 of each part is
            checked.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        file.seek(max(0, size - SIGNATURE - END))
        tail = file.read()
    if tail[END:].startswith(TAG) or tail[END - 2 : END] == struct.pack("<H", SIGNATURE):
        return None if _digest(path, size - SIGNATURE) == tail[END:] else "its SHA-256 differs from the recorded one"
    if tail[-END : -END + len(END_MARK)] != END_MARK or tail[-2:] != NO_COMMENT:
        return "it is cut short, or no file of torch.save"
    try:
        with zipfile.ZipFile(path) as archive:
            part = archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        return str(error)
    return f"the CRC-32 of its part {part} differs" if part else None


def newest_whole(folder: Path, besides: Path) -> Path | None:
    """The latest checkpoint of a folder that is not damaged; None if there is none.

    Args:
        folder: folder of checkpoints.
        besides: file that does not count.
    """
    files = [file for file in folder.glob("*.ckpt") if file.is_file() and file.name != besides.name]
    for file in sorted(files, key=lambda file: file.stat().st_mtime, reverse=True):
        if damage(file) is None:
            return file
    return None


def _digest(path: Path, size: int) -> bytes:
    """The comment that `sign` writes for the first `size` bytes of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while size > 0 and (block := file.read(min(BLOCK, size))):
            digest.update(block)
            size -= len(block)
    return TAG + digest.hexdigest().encode()
