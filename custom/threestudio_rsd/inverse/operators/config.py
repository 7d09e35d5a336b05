"""Settings of a forward operator."""

from dataclasses import dataclass

ImageShape = tuple[int, int, int]  # (3, H, W)


@dataclass
class OperatorConfig:
    """Settings of a forward operator and of the noise of its measurements."""

    name: str = "half-box"  # one of OPERATORS
    sigma: float = 0.001  # standard deviation of the noise, in units of y (Table 1)
    seed: int = 0  # seed of the operator's mask or kernel and, in a separate stream, of the noise
    side: str = "left"  # half-box: the half that is hidden: left, right, top or bottom (D.4.1 hides one half)
    share: float = 0.8  # random: share of the pixels that are hidden, in [0, 1) (D.4.2)
    mask_path: str | None = None  # mask: image file of the images' size; opaque or bright pixels are seen
    stroke_share: float = 0.3  # free-form: smallest share of the pixels that the strokes hide, in [0, 1) (ours)
    factor: int = 4  # super-resolution: pixels of x along each side of one pixel of y (DPS)
    kernel_size: int | None = None  # blurs: side of the kernel, odd pixels; null: 61/256 of the image's side (DPS)
    blur_deviation: float = 3.0  # gaussian-blur: standard deviation of the kernel, pixels (DPS, at 256 x 256)
    oversampling: float = 1.5  # phase-retrieval: ratio of the padded side to the image's side (DPS)
    exposure: float = 2.0  # hdr: slope of the curve (RED-diff); nonlinear-blur: amount of light (ours)
    quality: int = 10  # jpeg: 1 to 100 (ours)
