# SPDX-License-Identifier: Apache-2.0
"""The flat stuff of the scenes: plan of the street, sky and ground.

The view is along the axis of the street or across it. The coordinate `across`
crosses the bands of the ground (pavement, road, pavement), `along` is the other
one; both are in meters.
"""

import dataclasses

import numpy as np

from deeplab2_like.scenes.drawing import (
    Camera,
    Dice,
    color,
    fraction,
    mix,
    ramp,
    texture,
)
from deeplab2_like.scenes.light import HEDGES, Light

SKY, BUILDING, ROAD, PAVEMENT, VEGETATION = range(5)

_ROADS = (
    color(0.28, 0.28, 0.31),
    color(0.33, 0.33, 0.36),
    color(0.38, 0.38, 0.40),
    color(0.43, 0.43, 0.45),
)
_PAVEMENTS = (
    color(0.64, 0.63, 0.61),
    color(0.70, 0.67, 0.62),
    color(0.74, 0.67, 0.57),
    color(0.71, 0.60, 0.53),
)


@dataclasses.dataclass(frozen=True)
class Street:
    """Plan of the ground.

    Attributes:
        is_along: Whether the view is along the axis of the street.
        bands: (low, high, class) in the across coordinate, road included.
        fronts: Across coordinates of the houses: left and right of a street
            seen along its axis, (0, far) of one seen across.
        end: Distance of the houses at the end of the view, meters.
        crossing: Start of a zebra crossing in the along coordinate, or None.
    """

    is_along: bool
    bands: tuple[tuple[float, float, int], ...]
    fronts: tuple[float, float]
    end: float
    crossing: float | None

    @property
    def road(self) -> tuple[float, float]:
        """The sides of the road in the across coordinate."""
        return next(band[:2] for band in self.bands if band[2] == ROAD)


@dataclasses.dataclass
class Canvas:
    """The image while it is painted.

    Attributes:
        rgb: float32 [3, H, W] in 0..1.
        panoptic: int32 [H, W], class indices of stuff, panoptic ids of things.
    """

    rgb: np.ndarray
    panoptic: np.ndarray


def make_street(dice: Dice) -> Street:
    """Draws the plan of the ground."""
    is_along = dice.chance(0.6)
    width = dice.uniform(5.0, 7.0)
    pavement = dice.uniform(2.0, 3.2)
    verge = dice.uniform(2.0, 5.0) if dice.chance(0.5) else 0.0
    if is_along:
        left = -width / 2 + dice.uniform(-1.5, 1.5)
    else:
        left = dice.uniform(4.4, 5.6)
    right = left + width
    bands = [
        (right + pavement, right + pavement + verge, VEGETATION),
        (left, right, ROAD),
        (right, right + pavement, PAVEMENT),
    ]
    if is_along:
        bands.append((left - pavement, left, PAVEMENT))
        fronts = (left - pavement - verge, right + pavement + verge)
    else:
        near = PAVEMENT if dice.chance(0.7) else VEGETATION
        bands.append((0.0, left, near))
        fronts = (0.0, right + pavement + verge)
    crossing = dice.uniform(6.0, 14.0) if is_along else dice.uniform(-8, 4)
    return Street(
        is_along=is_along,
        bands=tuple(bands),
        fronts=fronts,
        end=dice.uniform(20.0, 40.0) if is_along else fronts[1],
        crossing=crossing if dice.chance(0.35) else None,
    )


def paint_sky(canvas: Canvas, camera: Camera, light: Light, dice: Dice) -> None:
    """Paints a gradient and clouds from the upper edge to the horizon."""
    rows = min(int(camera.horizon) + 2, camera.height)
    y = np.arange(rows, dtype=np.float32)[:, None]
    x = np.arange(camera.width, dtype=np.float32)[None, :]
    part = y / np.float32(camera.horizon)
    shift = (dice.uniform(0, 256), dice.uniform(0, 256))
    size = np.float32(dice.uniform(60, 110) / camera.height)
    cloud = texture(
        "cloud", y * (2.2 * size) + shift[0], x * size + shift[1], True
    )
    cloud = ramp((cloud - (1.0 - light.clouds)) * 3.0) * 0.75
    sky = mix(
        light.sky_top[:, None, None],
        light.sky_low[:, None, None],
        (part * (0.3 + 0.7 * part))[None],
    )
    bright = mix(light.sky_low, color(1, 1, 1), 0.45)
    canvas.rgb[:, :rows] = mix(sky, bright[:, None, None], cloud)
    canvas.panoptic[:rows] = SKY


def _ground_coordinates(camera: Camera, street: Street, first: int):
    """Returns scale, across, along and their pixels per meter, float32."""
    y = np.arange(first, camera.height, dtype=np.float32)[:, None]
    x = np.arange(camera.width, dtype=np.float32)[None, :]
    scale = (y - np.float32(camera.horizon)) / np.float32(camera.eye)
    side = (x - np.float32(camera.vanish)) / scale
    depth = np.float32(camera.focal) / scale
    slope = np.float32(camera.eye / camera.focal) * scale * scale
    if street.is_along:
        return scale, side, depth, scale, slope
    return scale, depth, side, slope, scale


def paint_ground(
    canvas: Canvas, camera: Camera, street: Street, light: Light, dice: Dice
) -> None:
    """Paints road, pavement and grass from the horizon downwards."""
    first = int(camera.horizon) + 1
    scale, across, along, fine, coarse = _ground_coordinates(
        camera, street, first
    )
    near = ramp(scale * np.float32(12 / camera.height))
    grain = texture("grain", across * 9.0, along * 9.0) - 0.5
    leaf = texture("leaf", across * 11.0, along * 11.0) - 0.5
    road = dice.pick(_ROADS) * dice.uniform(0.85, 1.15)
    pavement = dice.pick(_PAVEMENTS) * dice.uniform(0.8, 1.12)
    joint = dice.uniform(0.7, 1.3)
    seam = np.minimum(
        np.abs(fraction(across / joint) - 0.5) * (joint * fine),
        np.abs(fraction(along / joint) - 0.5) * (joint * coarse),
    )
    seam = ramp(1.0 - seam) * ramp(np.minimum(fine, coarse) * 0.25 - 0.2)
    looks = {
        ROAD: road[:, None, None] * (1.0 + 0.3 * near * grain),
        PAVEMENT: pavement[:, None, None]
        * (1.0 + 0.14 * near * grain)
        * (1.0 - 0.28 * seam),
        VEGETATION: (dice.pick(HEDGES) * dice.uniform(0.8, 1.1))[:, None, None]
        * (1.0 + (0.25 + 0.55 * near) * leaf),
    }
    rgb = canvas.rgb[:, first:]
    label = canvas.panoptic[first:]
    outer = VEGETATION if dice.chance(0.5) else PAVEMENT
    rgb[:] = looks[outer]
    label[:] = outer
    for low, high, kind in street.bands:
        inside = np.minimum((across - low) * fine, (high - across) * fine)
        cover = ramp(inside + 0.5)
        rgb += (looks[kind] - rgb) * cover
        label[:] = np.where(inside > 0, np.int32(kind), label)
    _paint_marks(rgb, street, (across, along, fine, coarse), dice)
    _shade_ground(rgb, street, across, along, light, dice)
    air = light.hidden(scale, camera.focal)
    rgb += (light.sky_low[:, None, None] - rgb) * air


def _paint_marks(rgb: np.ndarray, street: Street, grid, dice: Dice) -> None:
    """Paints curbs, the dashed line and the zebra crossing."""
    across, along, fine, coarse = grid
    left, right = street.road

    def stripe(center: float, half: float) -> np.ndarray:
        width = (half - np.abs(across - center)) * fine
        return ramp(width + 0.5) * ramp(2 * half * fine)

    white = color(0.9, 0.9, 0.86)[:, None, None]
    edge = dice.uniform(0.5, 0.9) * color(1, 1, 0.98)[:, None, None]
    for side in (left, right):
        rgb += (edge - rgb) * (stripe(side, 0.14) * 0.6)
    if dice.chance(0.75):
        middle = (left + right) / 2
        dash = fraction(along / dice.uniform(3.0, 6.0))
        dash = np.where(dash < 0.5, np.float32(0.75), np.float32(0))
        rgb += (white - rgb) * (stripe(middle, 0.1) * dash)
    if street.crossing is None:
        return
    span = np.abs(along - (street.crossing + 1.5))
    span = ramp((1.5 - span) * coarse + 0.5)
    bar = ramp((0.25 - np.abs(fraction(across) - 0.5)) * fine + 0.5)
    on_road = np.minimum(across - (left + 0.3), (right - 0.3) - across)
    rgb += (white - rgb) * (span * bar * ramp(on_road * fine + 0.5) * 0.8)


def _shade_ground(
    rgb: np.ndarray,
    street: Street,
    across: np.ndarray,
    along: np.ndarray,
    light: Light,
    dice: Dice,
) -> None:
    """Darkens the ground in the shadow of the houses."""
    roofs = 1.0 + 1.5 * fraction(np.floor(along / 7.0) * np.float32(0.381966))
    reach = np.float32(dice.uniform(0.8, 2.2)) * roofs
    if street.is_along and light.sun < 0:
        distance = across - street.fronts[0]
    else:
        distance = street.fronts[1] - across
    dark = ramp((reach - distance) * 4.0) * light.shadow
    rgb *= 1.0 - dark
    if street.is_along:
        edge = np.minimum(across - street.fronts[0], street.fronts[1] - across)
    else:
        edge = street.fronts[1] - across
    rgb *= 0.8 + 0.2 * ramp(edge * 0.8)


def make_camera(dice: Dice, height: int, width: int) -> Camera:
    """Draws the position and direction of the camera."""
    return Camera(
        height=height,
        width=width,
        horizon=dice.uniform(0.36, 0.46) * height,
        vanish=dice.uniform(0.32, 0.68) * width,
        eye=dice.uniform(1.5, 1.9),
    )


def blank_canvas(camera: Camera) -> Canvas:
    """Returns a black canvas of the camera's size."""
    shape = (camera.height, camera.width)
    return Canvas(
        rgb=np.zeros((3, *shape), np.float32),
        panoptic=np.zeros(shape, np.int32),
    )
