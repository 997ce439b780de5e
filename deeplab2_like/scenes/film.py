# SPDX-License-Identifier: Apache-2.0
"""Films of `scenes`: things that move through a street, with their ids.

The street stands still. Cars drive, persons walk, signs and trees stay; they
hide each other, leave the picture and come into it.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from deeplab2_like import errors
from deeplab2_like.scenes import houses, layout
from deeplab2_like.scenes import light as light_lib
from deeplab2_like.scenes import scene as scene_lib
from deeplab2_like.scenes import street as street_lib
from deeplab2_like.scenes.drawing import Camera, Dice
from deeplab2_like.scenes.layout import Setting, Thing
from deeplab2_like.scenes.scene import Scene
from deeplab2_like.scenes.street import Canvas

# Streams of random values: plan of the street, of the things; from these on
# looks of each thing and grain of each frame.
_STREET, _PLAN, _LOOKS, _GRAIN = 0, 2, 1000, 1_000_000
# Fewest and most things of each kind in a picture twice as wide as high.
_COUNTS = {
    layout.CAR: (2, 5),
    layout.PERSON: (2, 6),
    layout.SIGN: (0, 2),
    layout.TREE: (0, 2),
}
# Meters a second.
_SPEEDS = {layout.CAR: (2.0, 8.0), layout.PERSON: (0.6, 1.6)}


@dataclasses.dataclass(frozen=True)
class _Actor:
    """A thing of a film.

    Attributes:
        kind: Class index.
        number: Number of its instance.
        stream: Stream of the random values of its looks.
        column: Column of its foot in the middle of the film, pixels.
        scale: Pixels of a meter then.
        speed: Meters a second to the right, or away from the camera.
        is_along: Whether it moves away, not to the right.
    """

    kind: int
    number: int
    stream: int
    column: float
    scale: float
    speed: float
    is_along: bool


def make_film(
    seed: int,
    size: tuple[int, int] = (129, 257),
    *,
    frames: int = 40,
    rate: float = 10.0,
) -> Iterator[Scene]:
    """Draws the frames of a film.

    The same arguments give the same bytes on every machine.

    Args:
        seed: An integer >= 0.
        size: Height and width in pixels, each >= `scene.MIN_SIZE`.
        frames: Number of frames, 1 or more.
        rate: Frames a second, above 0.

    Yields:
        Frames, whose instances have one number as long as the film lasts.
        Things of which less than half is visible are left out of a frame.

    Raises:
        DataError: An argument is out of range.
    """
    scene_lib.check_arguments(seed, size)
    if frames < 1 or not rate > 0:
        raise errors.DataError(
            f"Cannot draw a film of {frames} frames, {rate} a second. Both "
            "must be above 0."
        )
    dice = Dice(seed, _STREET)
    light = light_lib.make_light(dice)
    street = street_lib.make_street(dice)
    camera = street_lib.make_camera(dice, *size)
    empty = street_lib.blank_canvas(camera)
    street_lib.paint_sky(empty, camera, light, dice)
    street_lib.paint_ground(empty, camera, street, light, dice)
    houses.paint_houses(empty, camera, street, light, dice)
    setting = Setting(camera, street, light)
    actors = _plan_actors(Dice(seed, _PLAN), setting)
    for number in range(frames):
        canvas = Canvas(empty.rgb.copy(), empty.panoptic.copy())
        seconds = (number - frames / 2) / rate
        things = _place_actors(actors, seconds, seed, setting)
        kept = scene_lib.keep_visible(things, np.ones(size, bool))
        for thing in kept:
            scene_lib.paint_shadow(canvas, camera, light, thing)
        scene_lib.paint_things(canvas, kept)
        yield scene_lib.develop(canvas, light, Dice(seed, _GRAIN + number))


def _plan_actors(dice: Dice, setting: Setting) -> list[_Actor]:
    room = setting.camera.width / setting.camera.height / 2.0
    actors: list[_Actor] = []
    for kind, (fewest, most) in _COUNTS.items():
        count = int(room * dice.uniform(fewest, most + 1))
        for number in range(1, count + 1):
            column, scale = layout.find_spot(dice, kind, setting)
            low, high = _SPEEDS.get(kind, (0.0, 0.0))
            actors.append(
                _Actor(
                    kind,
                    number,
                    _LOOKS + len(actors),
                    column,
                    scale,
                    dice.uniform(low, high) * dice.sign(),
                    setting.street.is_along and kind == layout.CAR,
                )
            )
    return actors


def _place_actors(
    actors: list[_Actor], seconds: float, seed: int, setting: Setting
) -> list[Thing]:
    """Draws the things that are in the picture at a time."""
    camera, things = setting.camera, []
    for actor in actors:
        column, scale = _find_place(actor, seconds, camera)
        margin = 3.0 * scale
        is_inside = -margin < column < camera.width + margin
        if not is_inside or scale > 0.9 * camera.nearest_scale():
            continue
        thing = layout.draw(
            Dice(seed, actor.stream), actor.kind, column, scale, setting
        )
        if not thing.sprite.is_empty:
            things.append(dataclasses.replace(thing, number=actor.number))
    return things


def _find_place(
    actor: _Actor, seconds: float, camera: Camera
) -> tuple[float, float]:
    """Returns the column and the scale of a thing at a time."""
    way = actor.speed * seconds
    if not actor.is_along:
        return actor.column + way * actor.scale, actor.scale
    depth = max(camera.focal / actor.scale + way, 0.5)
    scale = camera.focal / depth
    across = (actor.column - camera.vanish) / actor.scale
    return camera.vanish + across * scale, scale
