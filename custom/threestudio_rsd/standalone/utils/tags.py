"""Folder names from prompts."""

import hashlib
import re
import unicodedata

LONGEST = 120  # bytes; with the timestamp well below what any file system takes
KEPT = set("_-.,+=@")


def safe_tag(text: str) -> str:
    """A folder name for a text of any length and alphabet.

    Letters and digits of all alphabets stay, spaces become `_`. A text that loses more than that gets a short hash,
    so that different texts have different folders.
    """
    wanted = unicodedata.normalize("NFC", str(text)).replace(" ", "_")
    cleaned = "".join(c if c.isalnum() or c in KEPT else "_" for c in wanted).lstrip(".")
    if cleaned != wanted:
        cleaned = re.sub("_+", "_", cleaned)
    short = cleaned.encode("utf-8", "ignore")[:LONGEST].decode("utf-8", "ignore")
    if short == wanted:
        return short
    return f"{short}-{hashlib.sha256(str(text).encode('utf-8', 'surrogatepass')).hexdigest()[:8]}"
