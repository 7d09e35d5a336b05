"""Renderer of the bundled world: ray casting with closed-form intersections, on the CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import UserError, one_of
from .objects import ACCENT, BUILDERS, FIXED_COLORS, MAIN
from .primitives import Surface
from .world import ACCENTS, BACKGROUNDS, CLASSES, COLORS, Camera, Scene

IMAGE_SIZE = 64
SUPERSAMPLING = 2  # rays per pixel along each axis
CHUNK = 16  # images rendered at a time, so that their rays fit into the processor's cache
BOUNDING_RADIUS = 1.25  # radius of a sphere that contains every object of unit size, with a margin

COLOR_RGB = torch.tensor(
    [
        [0.86, 0.10, 0.10],
        [0.98, 0.52, 0.06],
        [0.97, 0.90, 0.16],
        [0.13, 0.66, 0.18],
        [0.12, 0.80, 0.82],
        [0.12, 0.22, 0.86],
        [0.50, 0.12, 0.68],
        [0.98, 0.52, 0.74],
    ]
)
ACCENT_RGB = torch.tensor([[0.95, 0.95, 0.95], [0.25, 0.25, 0.28], [0.55, 0.33, 0.16]])
BACKGROUND_RGB = torch.tensor([[0.95, 0.95, 0.95], [0.80, 0.88, 0.96], [0.96, 0.90, 0.78]])

# Intensities of a directional light from the upper front, of a light at the camera, and of ambient light.
LIGHT_DIRECTION = F.normalize(torch.tensor([0.45, 0.35, 0.85]), dim=0)
LIGHT, HEADLIGHT, AMBIENT = 0.36, 0.20, 0.56


def render(
    object_class: Tensor | str | int,
    color: Tensor | str | int,
    accent: Tensor | str | int = 0,
    background: Tensor | str | int = 0,
    size: Tensor | float = 0.9,
    height: Tensor | float = 1.0,
    camera: Camera | None = None,
    resolution: int = IMAGE_SIZE,
    supersampling: int = SUPERSAMPLING,
) -> Tensor:
    """Render objects from cameras.

    Every argument up to `camera`, and every field of the camera, is one value for all images or a tensor (N,).

    Args:
        object_class: name or index in CLASSES.
        color: name or index in COLORS.
        accent: name or index in ACCENTS.
        background: name or index in BACKGROUNDS.
        size: scale of the object; 1 is full size.
        height: additional scale along z.
        camera: cameras; None: the default of `Camera`.
        resolution: pixels along each side.
        supersampling: rays per pixel along each axis.

    Returns:
        Images (N, 3, resolution, resolution) in [0, 1].

    Raises:
        UserError: an unknown name or index.

    Example:
        >>> views = render("car", "red", camera=Camera(azimuth=torch.tensor([0.0, 90.0, 180.0])), resolution=32)
        >>> views.shape
        torch.Size([3, 3, 32, 32])
    """
    camera = camera or Camera()
    values = [
        _index("object_class", object_class, CLASSES),
        _index("color", color, COLORS),
        _index("accent", accent, ACCENTS),
        _index("background", background, BACKGROUNDS),
        *(torch.as_tensor(x, dtype=torch.float32) for x in (size, height)),
        *(
            torch.as_tensor(x, dtype=torch.float32)
            for x in (camera.azimuth, camera.elevation, camera.distance, camera.fovy)
        ),
    ]
    batched = torch.broadcast_tensors(*(torch.atleast_1d(value) for value in values))
    names = ("object_class", "color", "accent", "background", "size", "height")
    own = dict(zip(names, batched[:6], strict=True))
    return render_scenes(Scene(**own, camera=Camera(*batched[6:])), resolution, supersampling)


@torch.no_grad()
def render_scenes(
    scenes: Scene,
    resolution: int = IMAGE_SIZE,
    supersampling: int = SUPERSAMPLING,
    shown: Tensor | None = None,
) -> Tensor:
    """Render N scenes.

    Args:
        scenes: N scenes.
        resolution: pixels along each side.
        supersampling: rays per pixel along each axis.
        shown: pixels that are rendered, booleans (resolution, resolution), where the others may show the background
            alone, which takes less time; None: all.

    Returns:
        Images (N, 3, resolution, resolution) in [0, 1].
    """
    rays = None
    if shown is not None:
        rays = shown.repeat_interleave(supersampling, 0).repeat_interleave(supersampling, 1).flatten()
    images = torch.empty(len(scenes), 3, resolution, resolution)
    for i, name in enumerate(CLASSES):
        for index in (scenes.object_class == i).nonzero()[:, 0].split(CHUNK):
            fine = _trace(name, scenes.select(index), resolution * supersampling, rays)
            images[index] = F.avg_pool2d(fine, supersampling)
    return images


def _index(argument: str, value: Tensor | str | int, names: tuple[str, ...]) -> Tensor:
    """Indices for a name, an index or a tensor of indices; checks their range."""
    if isinstance(value, str):
        one_of(argument, value, names)
        value = names.index(value)
    value = torch.as_tensor(value)
    if value.numel() and not 0 <= int(value.min()) <= int(value.max()) < len(names):
        raise UserError(f"{argument} = {value.tolist()} is out of range; accepted: 0 to {len(names) - 1}.")
    return value


def _trace(name: str, scenes: Scene, resolution: int, rays: Tensor | None) -> Tensor:
    """Images (N, 3, resolution, resolution) of scenes of one class, one ray per pixel, or in the pixels `rays` (R,)."""
    position, directions = _camera_rays(scenes.camera, resolution)
    scale = torch.stack([scenes.size, scenes.size, scenes.size * scenes.height])  # (3, N)
    origins = position / scale
    scaled = directions / scale[..., None]  # (3, N, R)

    # Only rays through the bounding sphere can hit anything.
    a, b = (scaled * scaled).sum(0), (origins[..., None] * scaled).sum(0)
    inside = b * b - a * ((origins * origins).sum(0) - BOUNDING_RADIUS**2)[:, None] > 0
    if rays is not None:
        inside &= rays
    image, _ = inside.nonzero(as_tuple=True)
    surface = Surface(origins[:, image].contiguous(), scaled[:, inside])
    BUILDERS[name](surface)

    palette = torch.zeros(len(scenes), 2 + len(FIXED_COLORS), 3)
    palette[:, MAIN], palette[:, ACCENT] = COLOR_RGB[scenes.color], ACCENT_RGB[scenes.accent]
    for material, rgb in FIXED_COLORS.items():
        palette[:, material] = torch.tensor(rgb)

    hit = surface.hit
    image = image[hit]
    normal = F.normalize(surface.normal[:, hit] / scale[:, image], dim=0)
    towards = (normal * directions[:, inside][:, hit]).sum(0)
    normal = torch.where(towards > 0, -normal, normal)
    shading = AMBIENT + LIGHT * (LIGHT_DIRECTION @ normal).clamp_min(0) + HEADLIGHT * towards.abs()
    color = (palette[image, surface.material[hit]] * shading[:, None]).clamp(0, 1)

    pixels = BACKGROUND_RGB[scenes.background][:, None].repeat(1, resolution**2, 1)
    covered = torch.zeros_like(inside)
    covered[inside] = hit
    pixels[covered] = color
    return pixels.view(-1, resolution, resolution, 3).permute(0, 3, 1, 2)


def _camera_rays(camera: Camera, resolution: int) -> tuple[Tensor, Tensor]:
    """Camera positions (3, N) and unit directions of the rays (3, N, resolution^2), row by row from the top left."""
    azimuth, elevation, fovy = (
        torch.deg2rad(torch.as_tensor(x)) for x in (camera.azimuth, camera.elevation, camera.fovy)
    )
    outward = torch.stack([elevation.cos() * azimuth.cos(), elevation.cos() * azimuth.sin(), elevation.sin()])
    # In closed form, because the cross product with z is zero for a camera straight above.
    right = torch.stack([-azimuth.sin(), azimuth.cos(), torch.zeros_like(azimuth)])
    up = torch.linalg.cross(outward, right, dim=0)
    half = torch.tan(fovy / 2)[None, :, None]
    grid = (torch.arange(resolution) + 0.5) / resolution * 2 - 1
    y, x = torch.meshgrid(-grid, grid, indexing="ij")
    directions = -outward[..., None] + half * (x.flatten() * right[..., None] + y.flatten() * up[..., None])
    return camera.distance * outward, F.normalize(directions, dim=0)
