# SPDX-License-Identifier: Apache-2.0
"""`scenes`: miniature streets drawn by seed, with panoptic labels.

A data set without download, for demos, tests and benchmarks. Houses, cars,
clothes and signs share their paints, sky and road their grays, hedges and trees
their greens, so that classes differ in shape, texture and place, not in color.
"""

import dataclasses

import numpy as np

from deeplab2_like import errors
from deeplab2_like.scenes import houses, layout
from deeplab2_like.scenes import light as light_lib
from deeplab2_like.scenes import street as street_lib
from deeplab2_like.scenes.drawing import (
    Camera,
    Dice,
    Sprite,
    color,
    mix,
    ramp,
)
from deeplab2_like.scenes.layout import Thing
from deeplab2_like.scenes.light import Light
from deeplab2_like.scenes.street import Canvas

CLASS_NAMES = (
    "sky",
    "building",
    "road",
    "pavement",
    "vegetation",
    "car",
    "person",
    "sign",
    "tree",
)
NUM_CLASSES = len(CLASS_NAMES)
THING_IDS = (layout.CAR, layout.PERSON, layout.SIGN, layout.TREE)
IGNORE_LABEL = layout.CLUTTER
LABEL_DIVISOR = 1000
MIN_INSTANCE_AREA = 20
MIN_INSTANCE_PART = 1 / 400
"""Things with fewer visible pixels, or a smaller part of all pixels, are left
out of image and label."""
MIN_STUFF_PART = 1 / 100
"""Stuff that fills a smaller part of the picture is not labeled."""
MIN_VISIBLE_PART = 0.5
"""Things with a smaller visible part are left out."""
MIN_SIZE = 33
SPLITS = ("train", "val", "test")

_VOID = IGNORE_LABEL * LABEL_DIVISOR
_SEEDS_PER_SPLIT = 1_000_000
_LAYOUT, _GRAIN = range(2)
_BONNET = 0.25


@dataclasses.dataclass(frozen=True)
class Scene:
    """A picture and its label.

    Attributes:
        image: uint8 [H, W, 3], RGB.
        panoptic: int32 [H, W], class * 1000 + instance; instances count from
            1 for each class, 0 for stuff and for crowds of a thing class;
            255000 where there is no label.
    """

    image: np.ndarray
    panoptic: np.ndarray


def compute_seed(split: str, index: int, seed: int = 0) -> int:
    """Returns the seed of a picture of a split; no two splits share one.

    Args:
        split: One of `SPLITS`.
        index: Number of the picture in its split, 0..999,999.
        seed: Seed of the whole data set, >= 0.

    Raises:
        DataError: The split does not exist, or a number is out of range.
    """
    if split not in SPLITS:
        raise errors.DataError(
            f'The split "{split}" of scenes does not exist. '
            f"Use one of {', '.join(SPLITS)}."
        )
    if not 0 <= index < _SEEDS_PER_SPLIT or seed < 0:
        raise errors.DataError(
            f"Picture {index} with seed {seed} of scenes does not exist. "
            f"Use 0 <= index < {_SEEDS_PER_SPLIT} and a seed >= 0."
        )
    return (seed * len(SPLITS) + SPLITS.index(split)) * (
        _SEEDS_PER_SPLIT
    ) + index


def check_arguments(seed: int, size: tuple[int, int]) -> None:
    """Checks the arguments of `make_scene`.

    Raises:
        DataError: The size is too small, or the seed is negative.
    """
    if min(size) < MIN_SIZE or seed < 0:
        raise errors.DataError(
            f"Cannot draw a scene of {size[0]}x{size[1]} pixels with seed"
            f" {seed}. Height and width must be >= {MIN_SIZE} and the seed"
            " >= 0."
        )


def make_scene(seed: int, size: tuple[int, int] = (129, 257)) -> Scene:
    """Draws the scene of a seed.

    The same seed and size give the same bytes on every machine; the same seed
    gives the same street at every size of one aspect ratio, except for noise
    and for things that are too small in the smaller image.

    Args:
        seed: An integer >= 0.
        size: Height and width in pixels, each >= `MIN_SIZE`.

    Raises:
        DataError: The size is too small, or the seed is negative.
    """
    check_arguments(seed, size)
    dice = Dice(seed, _LAYOUT)
    light = light_lib.make_light(dice)
    street = street_lib.make_street(dice)
    camera = street_lib.make_camera(dice, *size)
    canvas = street_lib.blank_canvas(camera)
    street_lib.paint_sky(canvas, camera, light, dice)
    street_lib.paint_ground(canvas, camera, street, light, dice)
    houses.paint_houses(canvas, camera, street, light, dice)
    planned = layout.plan_things(dice, camera, street, light)
    bonnet = _plan_bonnet(dice, camera)
    kept = keep_visible(planned, bonnet <= 0.5)
    for thing in kept:
        paint_shadow(canvas, camera, light, thing)
    paint_things(canvas, kept)
    _paint_bonnet(canvas, bonnet, dice)
    return develop(canvas, light, Dice(seed, _GRAIN))


def keep_visible(planned: list[Thing], free: np.ndarray) -> list[Thing]:
    """Returns the things that are visible enough, the furthest first.

    Things are visited from the nearest to the furthest, and kept ones hide
    those behind them, so that one pass gives the exact visible areas.

    Args:
        planned: The things, in any order.
        free: bool [H, W], pixels where nothing hides them; changed.
    """
    smallest = max(MIN_INSTANCE_AREA, MIN_INSTANCE_PART * free.size)
    kept = []
    for thing in sorted(planned, key=lambda thing: -thing.scale):
        mask = thing.sprite.alpha > 0.5
        window = free[thing.sprite.window]
        visible = int(np.count_nonzero(mask & window))
        enough = max(smallest, MIN_VISIBLE_PART * mask.sum())
        if visible < enough:
            continue
        window &= ~mask
        kept.append(thing)
    return kept[::-1]


def paint_shadow(
    canvas: Canvas, camera: Camera, light: Light, thing: Thing
) -> None:
    """Darkens the ground below a thing."""
    flat = camera.eye * thing.scale / camera.focal
    wide = thing.width * 1.15
    deep = min(max(flat * thing.width, 0.08), 0.5)
    shadow = Sprite(
        camera,
        column=thing.column - light.sun * 0.35 * thing.width * thing.scale,
        scale=thing.scale,
        reach=(wide, wide),
        top=deep + 0.1,
        bottom=-deep - 0.1,
    )
    shadow.ellipse(color(0, 0, 0), (0, 0.04), (wide, deep))
    label = canvas.panoptic[shadow.window]
    ground = (label == street_lib.ROAD) | (label == street_lib.PAVEMENT)
    ground |= label == street_lib.VEGETATION
    dark = shadow.alpha * (0.25 + 0.7 * light.shadow) * ground
    canvas.rgb[:, shadow.window[0], shadow.window[1]] *= 1.0 - dark


def paint_things(canvas: Canvas, kept: list[Thing]) -> None:
    """Paints things over the street, with their panoptic ids.

    Things without a number get one, counted from 1 for each class.
    """
    counts = dict.fromkeys(THING_IDS, 0)
    for thing in kept:
        sprite = thing.sprite
        rgb = canvas.rgb[:, sprite.window[0], sprite.window[1]]
        rgb += sprite.rgb - rgb * sprite.alpha
        identity = thing.kind * LABEL_DIVISOR
        if thing.kind in counts and not thing.is_crowd:
            counts[thing.kind] += 1
            identity += thing.number or counts[thing.kind]
        label = canvas.panoptic[sprite.window]
        label[sprite.alpha > 0.5] = identity


def _plan_bonnet(dice: Dice, camera: Camera) -> np.ndarray:
    """Returns the coverage of the own car's bonnet: float32 [H, W]."""
    shape = (camera.height, camera.width)
    if not dice.chance(_BONNET):
        return np.zeros(shape, np.float32)
    high = dice.uniform(0.05, 0.1) * camera.height
    y = np.arange(camera.height, dtype=np.float32)[:, None]
    x = np.arange(camera.width, dtype=np.float32)[None, :]
    side = x / camera.width - 0.5
    edge = camera.height - high * (1.0 - 2.2 * side * side)
    return ramp(y - edge + 0.5)


def _paint_bonnet(canvas: Canvas, bonnet: np.ndarray, dice: Dice) -> None:
    """Paints the bonnet of the own car, which has no label."""
    if not bonnet.any():
        return
    height = len(bonnet)
    paint = dice.pick(light_lib.PAINTS) * dice.uniform(0.4, 0.8)
    glow = mix(paint, color(1, 1, 1), 0.35)[:, None, None]
    y = np.arange(height, dtype=np.float32)[:, None] / height
    look = mix(glow, paint[:, None, None], ramp((y - 0.9) * 10.0))
    canvas.rgb += (look - canvas.rgb) * bonnet
    canvas.panoptic[bonnet > 0.5] = _VOID


def develop(canvas: Canvas, light: Light, dice: Dice) -> Scene:
    """Converts the canvas into a scene, with exposure, tint and grain."""
    height, width = canvas.panoptic.shape
    strength = dice.uniform(0.01, 0.03)
    grain = dice.grain(3, height, width) + dice.grain(3, height, width) - 1.0
    curve = dice.uniform(-0.05, 0.25)
    rgb = canvas.rgb * (light.cast * light.exposure)[:, None, None]
    rgb = ramp(rgb)
    rgb = rgb + curve * rgb * (1.0 - rgb)
    rgb = ramp(rgb + np.float32(strength) * grain)
    image = np.floor(rgb * 255.0 + 0.5).astype(np.uint8)
    panoptic = canvas.panoptic
    for kind in range(min(THING_IDS)):
        inside = panoptic == kind
        enough = np.count_nonzero(inside) >= MIN_STUFF_PART * panoptic.size
        panoptic[inside] = kind * LABEL_DIVISOR if enough else _VOID
    return Scene(
        image=np.ascontiguousarray(image.transpose(1, 2, 0)),
        panoptic=panoptic,
    )
