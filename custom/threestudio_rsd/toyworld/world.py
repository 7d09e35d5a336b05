"""The bundled world: the attributes of its images, their distribution, and random scenes."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from ..names import CLASSES as CLASSES
from ..names import COLORS as COLORS

ACCENTS = ("white", "dark", "brown")
BACKGROUNDS = ("gray", "blue", "sand")
VIEWS = ("front view", "side view", "back view", "overhead view")  # threestudio's words

# Number of values of each attribute that an image shows.
ATTRIBUTES = {
    "class": len(CLASSES),
    "color": len(COLORS),
    "view": len(VIEWS),
    "accent": len(ACCENTS),
    "background": len(BACKGROUNDS),
}

SIZES = (0.72, 1.0)  # scale of the whole object, uniform
HEIGHTS = (0.88, 1.08)  # further scale along z, uniform
DISTANCES = (2.9, 3.1)  # of the camera from the origin, uniform
FOVYS = (39.0, 41.0)  # vertical field of view in degrees, uniform
# Degrees, uniform within each range. Overhead views have their own share, as they have their own words in prompts.
ELEVATIONS = (-10.0, 60.0)
OVERHEAD_ELEVATIONS = (60.0, 85.0)
OVERHEAD_SHARE = 0.15


@dataclass
class Camera:
    """Cameras in threestudio's convention: z is up, azimuth 0 sees the front (+x), and they look at the origin.

    Each field is a float or a tensor (N,).

    Attributes:
        azimuth: degrees.
        elevation: degrees.
        distance: distance from the origin, in units of the scene.
        fovy: vertical field of view in degrees.
    """

    azimuth: Tensor | float = 0.0
    elevation: Tensor | float = 15.0
    distance: Tensor | float = 3.0
    fovy: Tensor | float = 40.0


@dataclass
class Scene:
    """Attributes of N images to render.

    Attributes:
        object_class: index into CLASSES (N,).
        color: index into COLORS (N,).
        accent: index into ACCENTS (N,).
        background: index into BACKGROUNDS (N,).
        size: scale of the object (N,).
        height: further scale of the object along z (N,).
        camera: cameras whose fields are (N,).
    """

    object_class: Tensor
    color: Tensor
    accent: Tensor
    background: Tensor
    size: Tensor
    height: Tensor
    camera: Camera

    def __len__(self) -> int:
        return len(self.object_class)

    @property
    def view(self) -> Tensor:
        """Index into VIEWS (N,)."""
        return view_of(self.camera.azimuth, self.camera.elevation)

    def labels(self) -> dict[str, Tensor]:
        """Index of each attribute, (N,) by name of the attribute."""
        return {
            "class": self.object_class,
            "color": self.color,
            "view": self.view,
            "accent": self.accent,
            "background": self.background,
        }

    def select(self, index: Tensor | slice) -> "Scene":
        """The scenes of some of the images."""
        camera = Camera(**{field.name: getattr(self.camera, field.name)[index] for field in fields(Camera)})
        own = {field.name: getattr(self, field.name)[index] for field in fields(self) if field.name != "camera"}
        return Scene(**own, camera=camera)


def view_of(azimuth: Tensor | float, elevation: Tensor | float) -> Tensor:
    """Index into VIEWS of each camera, by threestudio's thresholds.

    Overhead above 60 degrees of elevation; else front within 45 degrees of azimuth 0, back within 45 degrees of
    180, and side in between.

    Args:
        azimuth: degrees, a number or a tensor.
        elevation: degrees, a number or a tensor.

    Returns:
        Tensor of the common shape of both.

    Example:
        >>> VIEWS[view_of(170.0, 20.0)]
        'back view'
    """
    azimuths, elevations = torch.broadcast_tensors(torch.as_tensor(azimuth), torch.as_tensor(elevation))
    wrapped = (azimuths + 180) % 360 - 180
    view = torch.full(azimuths.shape, VIEWS.index("side view"), device=azimuths.device)
    view[wrapped.abs() < 45] = VIEWS.index("front view")
    view[wrapped.abs() > 135] = VIEWS.index("back view")
    view[elevations > 60] = VIEWS.index("overhead view")
    return view


def sample_scenes(n: int, generator: torch.Generator) -> Scene:
    """Draw N scenes from the world's distribution, in which all attributes are independent and uniform.

    Args:
        n: number of scenes.
        generator: random number generator.
    """

    def choose(count: int) -> Tensor:
        return torch.randint(count, (n,), generator=generator)

    def uniform(bounds: tuple[float, float]) -> Tensor:
        low, high = bounds
        return low + (high - low) * torch.rand(n, generator=generator)

    overhead = torch.rand(n, generator=generator) < OVERHEAD_SHARE
    return Scene(
        object_class=choose(len(CLASSES)),
        color=choose(len(COLORS)),
        accent=choose(len(ACCENTS)),
        background=choose(len(BACKGROUNDS)),
        size=uniform(SIZES),
        height=uniform(HEIGHTS),
        camera=Camera(
            azimuth=uniform((-180.0, 180.0)),
            elevation=torch.where(overhead, uniform(OVERHEAD_ELEVATIONS), uniform(ELEVATIONS)),
            distance=uniform(DISTANCES),
            fovy=uniform(FOVYS),
        ),
    )


def choose_scenes(
    count: int,
    seed: int,
    object_class: str | None = None,
    color: str | None = None,
    azimuth: float | None = None,
    elevation: float | None = None,
) -> Scene:
    """Draw random scenes with some attributes fixed; the other attributes do not depend on the fixed ones.

    Args:
        count: number of scenes.
        seed: seed of the random attributes.
        object_class: one of CLASSES; None: random.
        color: one of COLORS; None: random.
        azimuth: degrees; None: random.
        elevation: degrees; None: random.
    """
    scenes = sample_scenes(count, torch.Generator().manual_seed(seed))
    if object_class is not None:
        scenes.object_class.fill_(CLASSES.index(object_class))
    if color is not None:
        scenes.color.fill_(COLORS.index(color))
    if azimuth is not None:
        torch.as_tensor(scenes.camera.azimuth).fill_(azimuth)
    if elevation is not None:
        torch.as_tensor(scenes.camera.elevation).fill_(elevation)
    return scenes
