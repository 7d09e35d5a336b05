"""Captions of the bundled world, in threestudio's words for the views, and every word that they use."""

import random

from .world import CLASSES, COLORS, VIEWS

PREFIXES = ("a photo of", "a 3d render of")
OTHER_WORDS = ("a", "an", "the", "of", ",", ".", "image", "picture", "rendering")


def caption(object_class: int, color: int | None = None, view: int | None = None, prefix: str = "") -> str:
    """Such as 'a photo of a red ice cream, front view', from indices into CLASSES, COLORS and VIEWS."""
    words = CLASSES[object_class] if color is None else f"{COLORS[color]} {CLASSES[object_class]}"
    text = f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
    if prefix:
        text = f"{prefix} {text}"
    return text if view is None else f"{text}, {VIEWS[view]}"


def random_caption(
    object_class: int,
    color: int,
    view: int,
    choice: random.Random,
    named_color: float,
    named_view: float,
    prefix: float,
    empty: float = 0.0,
) -> str:
    """A caption that tells each thing with the probability given, or nothing at all."""
    if choice.random() < empty:
        return ""
    return caption(
        object_class,
        color if choice.random() < named_color else None,
        view if choice.random() < named_view else None,
        choice.choice(PREFIXES) if choice.random() < prefix else "",
    )


def named_attributes(prompt: str) -> tuple[int | None, int | None]:
    """Class and color that a prompt names, as indices into CLASSES and COLORS; None where there is not one alone."""
    words = f" {' '.join(prompt.lower().replace(',', ' ').replace('.', ' ').split())} "
    found = ([i for i, name in enumerate(names) if f" {name} " in words] for names in (CLASSES, COLORS))
    object_class, color = (indices[0] if len(indices) == 1 else None for indices in found)
    return object_class, color


def vocabulary() -> list[str]:
    """Every word of every caption, sorted."""
    words = set(OTHER_WORDS)
    for phrase in (*CLASSES, *COLORS, *VIEWS, *PREFIXES):
        words |= set(phrase.split())
    return sorted(words)
