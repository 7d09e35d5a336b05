"""The part of a report that shows images side by side: choosers, and every setting for each prompt and seed."""

from collections.abc import Sequence
from html import escape

from ..runs.trial import DIVERSITY
from .images import encode, film_uri, may_be_lossless
from .study import Arm, Case, Study, network_name, seed_name


def render_images(study: Study) -> str:
    """HTML of the choosers, and for each prompt and seed the images of every setting."""
    keys = study.cases
    prompts = list(dict.fromkeys(prompt for prompt, _ in keys))
    seeds = list(dict.fromkeys(seed for _, seed in keys))
    seeds.sort(key=lambda seed: -1 if seed is None else seed)
    curves = list(dict.fromkeys(arm.curve for arm in study.arms if arm.curve))
    lossless = may_be_lossless([file for arm in study.arms for case in arm.cases for file in case.images])
    sections = []
    for place, key in enumerate(keys):
        figures = ""
        for number, arm in enumerate(study.arms):
            of_curve = f' data-curve="curve-{curves.index(arm.curve)}"' if arm.curve else ""
            opening = f'<figure data-arm="{number}"{of_curve}><figcaption>{escape(arm.label)}</figcaption>'
            case = next((case for case in arm.cases if case.key == key), None)
            gap = next(
                (each for each in study.missing if (each.arm, each.prompt, each.seed) == (arm.label, *key)), None
            )
            if case is not None:
                figures += f"{opening}{_shown(study, arm, case, lossless)}</figure>"
            elif gap is not None:
                figures += f"{opening}<p>No result: {escape(gap.error or 'not computed')}</p></figure>"
        heading = escape(", ".join(part for part in (key[0], seed_name(key[1])) if part) or "Images")
        chosen = " chosen" if place == 0 else ""
        sections.append(
            f'<section class="case{chosen}" data-prompt="{prompts.index(key[0])}" data-seed="{seeds.index(key[1])}">'
            f'<h3>{heading}</h3><div class="side">{figures}</div></section>'
        )
    choosers = _select("prompt", "Prompt", prompts) + _select(
        "seed", "Seed", ["-" if seed is None else str(seed) for seed in seeds]
    )
    choosers += _arm_buttons(study.arms)
    return (
        f'<div class="compare" id="compare"><div class="choosers">{choosers}</div>{"".join(sections)}</div>'
        '<dialog id="zoom" aria-label="enlarged image"><div class="steps"><p id="zoom-caption" aria-live="polite"></p>'
        '<button type="button" id="zoom-back">Previous</button><button type="button" id="zoom-on">Next</button>'
        '<form method="dialog"><button>Close</button></form></div><img alt="" src="data:,"></dialog>'
    )


def _select(name: str, label: str, values: Sequence[str]) -> str:
    if len(values) < 2:
        return ""
    options = "".join(f'<option value="{place}">{escape(value)}</option>' for place, value in enumerate(values))
    # autocomplete: a browser would keep the choice over a reload, but not what is shown.
    return f'<label>{label} <select id="{name}" autocomplete="off">{options}</select></label>'


def _arm_buttons(arms: Sequence[Arm]) -> str:
    if len(arms) < 2:
        return ""
    named = [arm.curve for arm in arms if arm.curve]
    curves = list(dict.fromkeys(named))
    labels = [("all", "All")]
    for number, curve in enumerate(curves):
        if 1 < named.count(curve) < len(arms):
            labels.append((f"curve-{number}", f"{curve}: all"))
    labels += [(str(number), arm.label) for number, arm in enumerate(arms)]
    buttons = ""
    for key, label in labels:
        checked = "true" if key == "all" else "false"
        attributes = f'type="button" role="radio" aria-checked="{checked}" data-arm="{key}"'
        buttons += f"<button {attributes}>{escape(label)}</button>"
    return f'<div class="arms" role="radiogroup" aria-label="Setting">{buttons}</div>'


def _shown(study: Study, arm: Arm, case: Case, lossless: bool) -> str:
    """Images, films and diversity of one case."""
    about = ", ".join(part for part in (arm.label, case.prompt, seed_name(case.seed)) if part)
    shown = "<p>Its images are gone.</p>"
    if case.images:
        picture = encode(case.images, lossless)
        kind = ' class="pixelated"' if picture.is_small else ""
        tall = " tall" if picture.height > 1.5 * picture.width else ""
        shown = (
            f'<button type="button" class="zoom{tall}" aria-label="enlarge: {escape(about)}">'
            f'<img{kind} loading="lazy" decoding="async" width="{picture.width}" height="{picture.height}" '
            f'alt="{escape(about)}" src="{picture.uri}"></button>'
        )
    for file in case.videos:
        shown += (
            f'<video controls muted loop playsinline preload="metadata" aria-label="{escape(about)}: turntable" '
            f'src="{film_uri(file)}"></video>'
        )
    values = ", ".join(
        f"{network_name(network)} {case.values[DIVERSITY + network]:.3f}"
        for network in study.networks
        if DIVERSITY + network in case.values
    )
    below = f'<p class="values">diversity: {escape(values)}</p>' if values else ""
    return shown + below
