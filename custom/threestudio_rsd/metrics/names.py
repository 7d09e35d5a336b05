"""The table of metrics: title, direction and number of digits of every quantity that this package reports."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MetricInfo:
    """Presentation of a metric.

    Attributes:
        title: heading in tables and charts.
        higher_is_better: None where neither direction is better.
        digits: decimal places in tables.
        section: one of SECTIONS.
    """

    title: str
    higher_is_better: bool | None
    digits: int
    section: str

    def format(self, value: float | None) -> str:
        """A value with the metric's digits; a dash for None and NaN."""
        return "-" if value is None or value != value else f"{value:.{self.digits}f}"


SECTIONS = {  # titles of tables, in order
    "diversity": "Within a prompt",
    "quality": "Text and looks",
    "reference": "Against the reference",
    "truth": "Against the truths",
    "world": "Judge of the bundled world",
    "cost": "Cost",
}
METRICS = {
    "clip_score": MetricInfo("CLIP score", True, 3, "quality"),
    "aesthetic": MetricInfo("aesthetic score", True, 2, "quality"),
    "frechet": MetricInfo("Fréchet distance", False, 1, "reference"),  # FID with Inception's features
    "kid": MetricInfo("kernel distance", False, 4, "reference"),
    "recall": MetricInfo("recall", True, 3, "reference"),
    "coverage": MetricInfo("coverage", True, 3, "reference"),
    "psnr": MetricInfo("PSNR, dB", True, 2, "truth"),
    "psnr_of_mean": MetricInfo("PSNR of mean, dB", True, 2, "truth"),
    "ssim": MetricInfo("SSIM", True, 3, "truth"),
    "lpips": MetricInfo("LPIPS", False, 3, "truth"),
    "residual": MetricInfo("residual", False, 4, "truth"),
    "class_accuracy": MetricInfo("class accuracy", True, 2, "world"),
    "color_accuracy": MetricInfo("color accuracy", True, 2, "world"),
    "view_accuracy": MetricInfo("view accuracy", True, 2, "world"),
    "colors": MetricInfo("colors", True, 2, "world"),
    "modes": MetricInfo("modes", True, 2, "world"),
    "entropy": MetricInfo("entropy, bits", None, 3, "world"),
    "total_variation": MetricInfo("total variation", False, 3, "world"),
    "seconds_per_step": MetricInfo("seconds per step", False, 2, "cost"),
    "seconds_per_particle": MetricInfo("seconds per particle", False, 1, "cost"),
    "network_calls_per_particle": MetricInfo("network calls per particle", False, 0, "cost"),
}
NETWORK_METRICS = {  # one number for each feature network, under NAME_NETWORK
    "diversity": MetricInfo("diversity", True, 3, "diversity"),
    "similarity": MetricInfo("similarity", False, 3, "diversity"),
    "vendi": MetricInfo("Vendi score", True, 2, "diversity"),
}


def metric_info(key: str) -> MetricInfo:
    """Presentation of the metric with this key, such as `psnr` or `diversity_dino`.

    Keys without an entry of their own, such as `entropy_color`, take the entry of their first word, or their own name
    as title.

    Example:
        >>> metric_info("diversity_dino").title
        'diversity, DINO'
        >>> metric_info("psnr").format(21.3456)
        '21.35'
    """
    if key in METRICS:
        return METRICS[key]
    for name, info in NETWORK_METRICS.items():
        if key.startswith(f"{name}_"):
            return MetricInfo(f"{info.title}, {network_title(key.removeprefix(f'{name}_'))}", *_rest(info))
    for name, info in METRICS.items():
        if key.startswith(f"{name}_"):
            return MetricInfo(key.replace("_", " "), *_rest(info))
    return MetricInfo(key.replace("_", " "), None, 3, "world")


def network_title(network: str) -> str:
    """Name of a feature network in titles."""
    return network.upper() if network in ("dino", "clip", "lpips") else network


def _rest(info: MetricInfo) -> tuple[bool | None, int, str]:
    return info.higher_is_better, info.digits, info.section
