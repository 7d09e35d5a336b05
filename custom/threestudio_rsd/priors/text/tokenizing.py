"""Fitting prompts into the number of tokens that a text encoder takes."""

from typing import Any


def expand_tokens(tokenizer: Any, prompt: str) -> str:
    """Name all vectors of the textual inversions in a prompt, as diffusers does: "<cat>" becomes "<cat> <cat>_1".

    Args:
        tokenizer: tokenizer of transformers.
        prompt: the prompt.
    """
    added = tokenizer.added_tokens_encoder
    for token in added:
        if token not in prompt or f"{token}_1" not in added:
            continue
        copies = [token]
        while f"{token}_{len(copies)}" in added:
            copies.append(f"{token}_{len(copies)}")
        if copies[1] not in prompt:
            prompt = prompt.replace(token, " ".join(copies))
    return prompt


def fit_prompt(tokenizer: Any, prompt: str, limit: int, ending: str = "") -> tuple[str, str]:
    """Shorten a prompt, before its ending, to the number of tokens that the text encoder takes.

    Args:
        tokenizer: tokenizer of transformers.
        prompt: the prompt.
        limit: number of tokens, with those that mark start and end.
        ending: end of the prompt that is kept, such as ", front view".

    Returns:
        The prompt, and the text that is left out. Without an ending the prompt itself is returned, to be truncated by
        the tokenizer, which may cut within a word.

    Example:
        >>> from threestudio_rsd.files import data_path
        >>> from transformers import CLIPTokenizer
        >>> tokenizer = CLIPTokenizer.from_pretrained(data_path("load/toyworld/text-to-image/tokenizer"))
        >>> fit_prompt(tokenizer, "a red mushroom, front view", 7, ", front view")
        ('a red, front view', 'mushroom')
    """
    if _length(tokenizer, prompt) <= limit:
        return prompt, ""
    if ending and _length(tokenizer, ending) < limit:
        return _shorten(tokenizer, prompt.removesuffix(ending), limit, ending)
    return prompt, _shorten(tokenizer, prompt, limit, "")[1]


def _shorten(tokenizer: Any, text: str, limit: int, ending: str) -> tuple[str, str]:
    """Leave out the end of a text, whole words where it has more than one, so that the ending fits."""
    low, high = 0, len(text)
    while low < high:  # the largest number of characters that fits
        middle = (low + high + 1) // 2
        fits = _length(tokenizer, text[:middle] + ending) <= limit
        low, high = (middle, high) if fits else (low, middle - 1)
    if low < len(text) and not text[low].isspace():
        low = text.rfind(" ", 0, low) if " " in text[:low] else low
    kept = text[:low].rstrip(" ,")
    return kept + ending, text[len(kept) :].strip(" ,")


def _length(tokenizer: Any, text: str) -> int:
    """Number of tokens, with those that mark start and end."""
    return len(tokenizer(text, verbose=False).input_ids)
