"""The bundled world: what can be in an image, and how likely it is."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor

CLASSES = ("mushroom", "snowman", "house", "ice cream", "tree", "rocket", "cup", "car")
COLORS = ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink")
ACCENTS = ("white", "dark", "brown")
BACKGROUNDS = ("gray", "blue", "sand")
VIEWS = ("front view", "side view", "back view", "overhead view")  # threestudio's words

# Number of values of each attribute that can be told from an image.
ATTRIBUTES = {
    "class": len(CLASSES),
    "color": len(COLORS),
    "view": len(VIEWS),
    "accent": len(ACCENTS),
    "background": len(BACKGROUNDS),
}

SIZES = (0.72, 1.0)  # uniform; scales the whole object
HEIGHTS = (0.88, 1.08)  # uniform; scales the object along z once more
DISTANCES = (2.9, 3.1)  # uniform
FOVYS = (39.0, 41.0)  # degrees, uniform
# Degrees, uniform within each range. The steep views are a class of their own, as in threestudio's prompts.
ELEVATIONS = (-10.0, 60.0)
OVERHEAD_ELEVATIONS = (60.0, 85.0)
OVERHEAD_SHARE = 0.15


@dataclass
class Camera:
    """Where an image is seen from, in threestudio's convention: z is up and azimuth 0 looks at the front (+x).

    Each field is a float or a tensor (N,): angles in degrees, `fovy` the vertical field of view in degrees, `distance`
    from the origin, at which the camera looks, in units of the scene.
    """

    azimuth: Tensor | float = 0.0
    elevation: Tensor | float = 15.0
    distance: Tensor | float = 3.0
    fovy: Tensor | float = 40.0


@dataclass
class Scene:
    """N images to be rendered: indices of class, color, accent and background (N,), sizes (N,), and cameras of N."""

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
        """Index of each of ATTRIBUTES (N,)."""
        return {
            "class": self.object_class,
            "color": self.color,
            "view": self.view,
            "accent": self.accent,
            "background": self.background,
        }

    def select(self, index: Tensor | slice) -> "Scene":
        """Some of the images."""
        camera = Camera(**{field.name: getattr(self.camera, field.name)[index] for field in fields(Camera)})
        own = {field.name: getattr(self, field.name)[index] for field in fields(self) if field.name != "camera"}
        return Scene(**own, camera=camera)


def view_of(azimuth: Tensor | float, elevation: Tensor | float) -> Tensor:
    """Index into VIEWS of each camera, by threestudio's thresholds: overhead above 60 degrees of elevation, else front
    within 45 degrees of azimuth 0, back within 45 of 180, and side.
    """
    azimuths, elevations = torch.broadcast_tensors(torch.as_tensor(azimuth), torch.as_tensor(elevation))
    wrapped = (azimuths + 180) % 360 - 180
    view = torch.full(azimuths.shape, VIEWS.index("side view"), device=azimuths.device)
    view[wrapped.abs() < 45] = VIEWS.index("front view")
    view[wrapped.abs() > 135] = VIEWS.index("back view")
    view[elevations > 60] = VIEWS.index("overhead view")
    return view


def sample_scenes(n: int, generator: torch.Generator) -> Scene:
    """Draw N scenes from the world's distribution: every attribute independent and uniform."""

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
