"""Shapes of the eight object classes, each a function that adds primitives to a `Surface`.

Objects lie within about one unit of the origin, with their front towards +x. Details are large, so that everything
that captions name is visible in 64 pixels. The main color is visible from every side and from above, and the front
has a feature that the back lacks.
"""

import math
from collections.abc import Callable

from .primitives import Surface
from .world import CLASSES

# Materials: the two colors of the scene, then materials of a fixed color.
MAIN, ACCENT, BLACK, CREAM, CONE, WOOD, GLASS, CARROT, CHERRY, COFFEE, LAMP, TAIL_LAMP = range(12)
FIXED_COLORS = {
    BLACK: (0.08, 0.08, 0.10),
    CREAM: (0.96, 0.88, 0.72),
    CONE: (0.80, 0.58, 0.30),
    WOOD: (0.42, 0.26, 0.13),
    GLASS: (0.62, 0.82, 0.95),
    CARROT: (0.95, 0.45, 0.05),
    CHERRY: (0.75, 0.05, 0.10),
    COFFEE: (0.30, 0.17, 0.08),
    LAMP: (1.00, 0.95, 0.55),
    TAIL_LAMP: (0.70, 0.05, 0.05),
}
DIAGONAL = math.sqrt(0.5)  # components of a unit normal at 45 degrees


def mushroom(surface: Surface) -> None:
    """A cream stem with two eyes; a cap of the main color, with accent-colored dots on its front half."""
    surface.cone(CREAM, (-0.85, 0.1), (0.34, 0.26))
    surface.ellipsoid(MAIN, (0.0, 0.0, 0.02), (0.84, 0.84, 0.74), above=0.02)
    surface.cone(CREAM, (0.0, 0.03), (0.82, 0.84))
    for azimuth, elevation in ((-38, 28), (38, 28), (0, 62)):
        a, e = math.radians(azimuth), math.radians(elevation)
        center = (0.77 * math.cos(a) * math.cos(e), 0.77 * math.sin(a) * math.cos(e), 0.02 + 0.68 * math.sin(e))
        surface.ellipsoid(ACCENT, center, 0.19)
    for y in (-0.14, 0.14):
        surface.ellipsoid(BLACK, (0.27, y, -0.33), (0.07, 0.08, 0.11))


def snowman(surface: Surface) -> None:
    """Two balls of the main color with a face and buttons; an accent-colored hat."""
    surface.ellipsoid(MAIN, (0.0, 0.0, -0.43), 0.5)
    surface.ellipsoid(MAIN, (0.0, 0.0, 0.27), 0.36)
    surface.cone(ACCENT, (0.48, 0.55), (0.42, 0.42))
    surface.cone(ACCENT, (0.52, 0.92), (0.27, 0.27))
    surface.cone(CARROT, (0.28, 0.74), (0.11, 0.0), center=(0.0, 0.0, 0.22), axis=0)
    for y in (-0.15, 0.15):
        surface.ellipsoid(BLACK, (0.3, y, 0.36), 0.075)
    for x, z in ((0.45, -0.2), (0.5, -0.48)):
        surface.ellipsoid(BLACK, (x, 0.0, z), 0.085)


def house(surface: Surface) -> None:
    """Accent-colored walls; gable roof and front door of the main color; a window on the back and each side."""
    surface.box(ACCENT, (-0.56, -0.56, -0.78), (0.56, 0.56, 0.1))
    surface.polyhedron(
        MAIN,
        [
            ((0.0, DIAGONAL, DIAGONAL), 0.52),
            ((0.0, -DIAGONAL, DIAGONAL), 0.52),
            ((0.0, 0.0, -1.0), -0.08),
            ((1.0, 0.0, 0.0), 0.66),
            ((-1.0, 0.0, 0.0), 0.66),
        ],
    )
    surface.box(MAIN, (0.5, -0.2, -0.78), (0.62, 0.2, -0.1))
    surface.ellipsoid(LAMP, (0.63, 0.11, -0.46), 0.055)
    for y in (-0.57, 0.57):
        surface.box(GLASS, (-0.24, y - 0.03, -0.5), (0.24, y + 0.03, -0.08))
    surface.box(GLASS, (-0.6, -0.32, -0.5), (-0.5, 0.32, -0.1))


def ice_cream(surface: Surface) -> None:
    """A cone under a scoop of the main color, with two eyes and a cherry; an accent-colored wafer at the back."""
    surface.cone(CONE, (-0.92, 0.08), (0.0, 0.44))
    surface.ellipsoid(MAIN, (0.0, 0.0, 0.28), 0.5)
    surface.cone(MAIN, (0.04, 0.16), (0.5, 0.5))
    surface.ellipsoid(CHERRY, (0.12, 0.0, 0.8), 0.13)
    for y in (-0.18, 0.18):
        surface.ellipsoid(BLACK, (0.44, y, 0.3), (0.07, 0.08, 0.11))
    surface.box(ACCENT, (-0.56, -0.2, -0.1), (-0.24, 0.2, 0.98))


def tree(surface: Surface) -> None:
    """A trunk under three cones of the main color, with accent-colored balls on the front half and a star on top."""
    surface.cone(WOOD, (-0.92, -0.5), (0.17, 0.17))
    surface.cone(MAIN, (-0.62, 0.0), (0.7, 0.22))
    surface.cone(MAIN, (-0.16, 0.42), (0.56, 0.16))
    surface.cone(MAIN, (0.24, 0.84), (0.42, 0.0))
    surface.ellipsoid(LAMP, (0.0, 0.0, 0.86), 0.12)
    for azimuth, radius, height in ((-32, 0.55, -0.38), (32, 0.55, -0.38), (0, 0.44, 0.1)):
        a = math.radians(azimuth)
        surface.ellipsoid(ACCENT, (radius * math.cos(a), radius * math.sin(a), height), 0.16)


def rocket(surface: Surface) -> None:
    """Body and nose of the main color with a porthole at the front; three fins and a ring in the accent color."""
    surface.cone(MAIN, (-0.6, 0.3), (0.34, 0.34))
    surface.cone(MAIN, (0.3, 0.94), (0.34, 0.0))
    surface.cone(ACCENT, (0.26, 0.38), (0.36, 0.36))
    surface.cone(BLACK, (-0.76, -0.6), (0.2, 0.28))
    surface.ellipsoid(BLACK, (0.27, 0.0, -0.02), (0.12, 0.24, 0.24))
    surface.ellipsoid(GLASS, (0.34, 0.0, -0.02), (0.08, 0.17, 0.17))
    for side in (-1.0, 1.0):
        surface.polyhedron(
            ACCENT,
            [
                ((0.0, side, 0.0), 0.74),
                ((0.0, -side, 0.0), -0.28),
                ((1.0, 0.0, 0.0), 0.07),
                ((-1.0, 0.0, 0.0), 0.07),
                ((0.0, 0.0, -1.0), 0.86),
                ((0.0, side * DIAGONAL, DIAGONAL), 0.16),
            ],
        )
    surface.polyhedron(
        ACCENT,
        [
            ((-1.0, 0.0, 0.0), 0.74),
            ((1.0, 0.0, 0.0), -0.28),
            ((0.0, 1.0, 0.0), 0.07),
            ((0.0, -1.0, 0.0), 0.07),
            ((0.0, 0.0, -1.0), 0.86),
            ((-DIAGONAL, 0.0, DIAGONAL), 0.16),
        ],
    )


def cup(surface: Surface) -> None:
    """A cup of the main color full of coffee, a large accent-colored dot on its front and the handle at +y."""
    surface.cone(MAIN, (-0.62, 0.55), (0.44, 0.58))
    surface.cone(COFFEE, (0.5, 0.57), (0.48, 0.48))
    surface.box(MAIN, (-0.1, 0.45, 0.2), (0.1, 0.9, 0.36))
    surface.box(MAIN, (-0.1, 0.76, -0.3), (0.1, 0.92, 0.36))
    surface.box(MAIN, (-0.1, 0.4, -0.4), (0.1, 0.92, -0.24))
    surface.ellipsoid(ACCENT, (0.43, 0.0, 0.0), (0.14, 0.3, 0.3))


def car(surface: Surface) -> None:
    """A car of the main color facing +x: lamps, an accent-colored stripe on the hood and accent-colored hubs."""
    surface.box(MAIN, (-0.9, -0.44, -0.42), (0.9, 0.44, 0.0))
    surface.polyhedron(
        GLASS,
        [
            ((1.0, 0.0, 0.5), 0.46),
            ((-1.0, 0.0, 0.5), 0.64),
            ((0.0, 1.0, 0.15), 0.40),
            ((0.0, -1.0, 0.15), 0.40),
            ((0.0, 0.0, 1.0), 0.38),
            ((0.0, 0.0, -1.0), 0.02),
        ],
    )
    surface.box(MAIN, (-0.48, -0.36, 0.36), (0.31, 0.36, 0.45))
    surface.box(ACCENT, (0.5, -0.16, -0.06), (0.91, 0.16, 0.03))
    for x in (-0.52, 0.52):
        for y in (-0.44, 0.44):
            surface.cone(BLACK, (-0.11, 0.11), (0.25, 0.25), center=(x, y, -0.42), axis=1)
            surface.cone(ACCENT, (-0.13, 0.13), (0.14, 0.14), center=(x, y, -0.42), axis=1)
    for y in (-0.28, 0.28):
        surface.ellipsoid(LAMP, (0.89, y, -0.17), (0.06, 0.13, 0.13))
        surface.box(TAIL_LAMP, (-0.94, y - 0.13, -0.25), (-0.88, y + 0.13, -0.08))


BUILDERS: dict[str, Callable[[Surface], None]] = dict(
    zip(CLASSES, (mushroom, snowman, house, ice_cream, tree, rocket, cup, car), strict=True)
)
