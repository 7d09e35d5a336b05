"""Captions of the bundled world, with threestudio's words for the views, and their vocabulary."""

import random

from .world import ACCENTS, BACKGROUNDS, CLASSES, COLORS, VIEWS, Scene

PREFIXES = ("a photo of", "a 3d render of")
OTHER_WORDS = ("a", "an", "the", "of", ",", ".", "image", "picture", "rendering")


def caption(object_class: int, color: int | None = None, view: int | None = None, prefix: str = "") -> str:
    """Caption of an image.

    Args:
        object_class: index into CLASSES.
        color: index into COLORS; None: the caption names no color.
        view: index into VIEWS; None: the caption names no view.
        prefix: words in front, such as one of PREFIXES.

    Example:
        >>> caption(3, 0, 2, "a photo of")
        'a photo of a red ice cream, back view'
    """
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
    """Caption that names each attribute with a given probability.

    Args:
        object_class: index into CLASSES.
        color: index into COLORS.
        view: index into VIEWS.
        choice: random number generator.
        named_color: probability that the color is named.
        named_view: probability that the view is named.
        prefix: probability of one of PREFIXES.
        empty: probability of an empty caption.
    """
    if choice.random() < empty:
        return ""
    return caption(
        object_class,
        color if choice.random() < named_color else None,
        view if choice.random() < named_view else None,
        choice.choice(PREFIXES) if choice.random() < prefix else "",
    )


def named_attributes(prompt: str) -> tuple[int | None, int | None]:
    """Class and color that a prompt names, as indices into CLASSES and COLORS.

    Each is None if the prompt names none, or more than one.

    Args:
        prompt: text.

    Example:
        >>> named_attributes("a photo of a red car")
        (7, 0)
    """
    words = f" {' '.join(prompt.lower().replace(',', ' ').replace('.', ' ').split())} "
    found = ([i for i, name in enumerate(names) if f" {name} " in words] for names in (CLASSES, COLORS))
    object_class, color = (indices[0] if len(indices) == 1 else None for indices in found)
    return object_class, color


def describe(scenes: Scene) -> list[dict[str, str | float]]:
    """Attributes of each scene in words and numbers, with its caption, for JSON."""
    names = {"class": CLASSES, "color": COLORS, "view": VIEWS, "accent": ACCENTS, "background": BACKGROUNDS}
    labels = scenes.labels()
    numbers = {"size": scenes.size, "height": scenes.height, **vars(scenes.camera)}
    return [
        {
            "caption": caption(int(labels["class"][i]), int(labels["color"][i]), int(labels["view"][i])),
            **{name: words[int(labels[name][i])] for name, words in names.items()},
            **{name: round(float(values[i]), 4) for name, values in numbers.items()},
        }
        for i in range(len(scenes))
    ]


def vocabulary() -> list[str]:
    """All words of all captions, sorted."""
    words = set(OTHER_WORDS)
    for phrase in (*CLASSES, *COLORS, *VIEWS, *PREFIXES):
        words |= set(phrase.split())
    return sorted(words)
