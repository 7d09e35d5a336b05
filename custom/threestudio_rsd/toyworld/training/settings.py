"""Settings of the trainings of the bundled world's networks."""

from dataclasses import dataclass, replace

SEED = 0
TRAIN_IMAGES = 40_960
HELD_OUT_IMAGES = 2_048
SHARD = 2_048  # images rendered and saved at a time
SHORTEST = 256  # smallest number of images that `shorten` leaves
TRAIN_SEED, HELD_OUT_SEED = 1_000, 900_000  # seed of the first shard; each further shard adds 1

# Share of the captions that name the color, that name the view, that have a prefix, and that are empty.
NAMED_COLOR, NAMED_VIEW, PREFIX, EMPTY = 0.5, 0.7, 0.3, 0.12


@dataclass(frozen=True)
class Optimization:
    """Settings of AdamW; the gradients are clipped to norm 1.

    The learning rate warms up linearly, then follows a cosine down to `final_share` of itself.
    """

    steps: int
    batch_size: int
    learning_rate: float
    warmup: int = 100  # steps
    final_share: float = 0.02
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    average: float = 0.0  # decay of the exponential moving average of the weights; 0: none
    evaluate_every: int = 500  # steps


JUDGE = Optimization(steps=3_000, batch_size=64, learning_rate=2e-3, weight_decay=0.02, average=0.995)
AUTOENCODER = Optimization(steps=5_000, batch_size=8, learning_rate=1.5e-3, weight_decay=1e-4, average=0.99)
CLIP = Optimization(steps=1_500, batch_size=64, learning_rate=1e-3, weight_decay=0.05, average=0.995)
DINO = Optimization(steps=8_000, batch_size=64, learning_rate=1.5e-3, warmup=50, weight_decay=0.02)
TEXT_TO_IMAGE = Optimization(steps=12_000, batch_size=32, learning_rate=1e-3, average=0.9985, evaluate_every=1_000)
FLOW = Optimization(steps=12_000, batch_size=16, learning_rate=8e-4, average=0.998, evaluate_every=1_000)
PIXEL = Optimization(steps=8_000, batch_size=16, learning_rate=8e-4, average=0.998, evaluate_every=1_000)


def shorten(share: float) -> None:
    """Reduce the steps of every training and the number of images, to try the whole procedure in minutes.

    Args:
        share: share that is kept, in (0, 1].
    """
    global TRAIN_IMAGES, HELD_OUT_IMAGES, SHARD  # noqa: PLW0603 the settings are this module's own variables
    TRAIN_IMAGES, HELD_OUT_IMAGES = (max(SHORTEST, int(share * count)) for count in (TRAIN_IMAGES, HELD_OUT_IMAGES))
    SHARD = min(SHARD, TRAIN_IMAGES, HELD_OUT_IMAGES)
    for name, value in globals().items():
        if isinstance(value, Optimization):
            globals()[name] = replace(value, steps=max(2, int(share * value.steps)))
