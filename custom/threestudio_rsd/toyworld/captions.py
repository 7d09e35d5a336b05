"""Captions of the bundled world, in threestudio's words for the views, and every word that they use."""

import random

from .world import CLASSES, COLOURS, VIEWS

PREFIXES = ("a photo of", "a 3d render of")
OTHER_WORDS = ("a", "an", "the", "of", ",", ".", "image", "picture", "rendering")


def caption(object_class: int, colour: int | None = None, view: int | None = None, prefix: str = "") -> str:
    """Such as 'a photo of a red ice cream, front view', from indices into CLASSES, COLOURS and VIEWS."""
    words = CLASSES[object_class] if colour is None else f"{COLOURS[colour]} {CLASSES[object_class]}"
    text = f"{'an' if words[0] in 'aeiou' else 'a'} {words}"
    if prefix:
        text = f"{prefix} {text}"
    return text if view is None else f"{text}, {VIEWS[view]}"


def random_caption(
    object_class: int,
    colour: int,
    view: int,
    choice: random.Random,
    named_colour: float,
    named_view: float,
    prefix: float,
    empty: float = 0.0,
) -> str:
    """A caption that tells each thing with the probability given, or nothing at all."""
    if choice.random() < empty:
        return ""
    return caption(
        object_class,
        colour if choice.random() < named_colour else None,
        view if choice.random() < named_view else None,
        choice.choice(PREFIXES) if choice.random() < prefix else "",
    )


def named_attributes(prompt: str) -> tuple[int | None, int | None]:
    """Class and colour that a prompt names, as indices into CLASSES and COLOURS; None where there is not one alone."""
    words = f" {' '.join(prompt.lower().replace(',', ' ').replace('.', ' ').split())} "
    found = ([i for i, name in enumerate(names) if f" {name} " in words] for names in (CLASSES, COLOURS))
    object_class, colour = (indices[0] if len(indices) == 1 else None for indices in found)
    return object_class, colour


def vocabulary() -> list[str]:
    """Every word of every caption, sorted."""
    words = set(OTHER_WORDS)
    for phrase in (*CLASSES, *COLOURS, *VIEWS, *PREFIXES):
        words |= set(phrase.split())
    return sorted(words)
