# SPDX-License-Identifier: Apache-2.0
"""The things of a scene and their places."""

import dataclasses
from collections.abc import Callable

from deeplab2_like.scenes import cars, figures
from deeplab2_like.scenes.drawing import Camera, Dice, Sprite, merge
from deeplab2_like.scenes.light import Light
from deeplab2_like.scenes.place import Place
from deeplab2_like.scenes.street import Street

CAR, PERSON, SIGN, TREE = 5, 6, 7, 8
CLUTTER = 255
# Things stand in groups: fewest and most groups of each kind in an image twice
# as wide as high, before things that are not visible are left out.
_GROUPS = {
    CAR: (0.7, 2.2),
    PERSON: (0.7, 2.4),
    SIGN: (0.7, 2.3),
    TREE: (0.5, 2.0),
    CLUTTER: (0.0, 0.8),
}
# Metres from one thing of a group to the next.
_GAPS = {CAR: 4.6, PERSON: 0.62, TREE: 2.4, CLUTTER: 1.0}
_MORE_IN_GROUP = 0.35
_CROWD = 0.1
_TRIES = 8


@dataclasses.dataclass(frozen=True)
class Thing:
    """A drawn thing.

    Attributes:
        sprite: The drawn pixels.
        kind: Class index, or `CLUTTER`.
        is_crowd: Whether it is a crowd, not one instance.
        scale: Pixels of a meter at its foot.
        column: Column of its foot, pixels.
        width: Half its width, meters.
        number: Number of its instance; 0: it gets one when it is painted.
    """

    sprite: Sprite
    kind: int
    is_crowd: bool
    scale: float
    column: float
    width: float
    number: int = 0


@dataclasses.dataclass(frozen=True)
class Setting:
    """Camera, street and light of a scene."""

    camera: Camera
    street: Street
    light: Light


def plan_things(
    dice: Dice, camera: Camera, street: Street, light: Light
) -> list[Thing]:
    """Draws all things that may be in the scene, in any order."""
    setting = Setting(camera, street, light)
    room = camera.width / camera.height / 2.0
    planned: list[Thing] = []
    for kind, (fewest, most) in _GROUPS.items():
        groups = int(room * dice.uniform(fewest, most) + 0.5)
        for _ in range(groups):
            planned.extend(_plan_group(dice, kind, setting))
    if dice.chance(_CROWD):
        planned.append(_plan_crowd(dice, setting))
    return planned


def find_spot(dice: Dice, kind: int, setting: Setting) -> tuple[float, float]:
    """Draws the place of a thing: column and scale."""
    camera, street = setting.camera, setting.street
    for _ in range(_TRIES):
        part = dice.uniform(0.4, 0.8)
        if dice.chance(0.15):
            part = dice.uniform(0.25, 0.4)
        across = _find_across(dice, kind, street)
        if street.is_along:
            scale = part * camera.nearest_scale()
            column = camera.vanish + across * scale
        else:
            scale = camera.focal / max(across, 3.2)
            column = dice.uniform(0, camera.width)
        if 0 <= column <= camera.width:
            break
    return column, scale


def _find_across(dice: Dice, kind: int, street: Street) -> float:
    """Draws the across coordinate of a thing of a kind."""
    left, right = street.road
    near, far = street.fronts
    if not street.is_along:
        near = left - 2.2
    if kind == CAR:
        lane = dice.pick((0.27, 0.27, 0.73, 0.73, 0.15, 0.85))
        return left + lane * (right - left)
    if kind == SIGN:
        return dice.pick((left - 0.5, right + 0.5))
    if kind == TREE:
        return dice.pick((far - 1.0, near + 1.0, right + 1.0, far - 1.0))
    if dice.chance(0.2):
        return dice.uniform(left + 0.5, right - 0.5)
    if dice.chance(0.5):
        return dice.uniform(right + 0.4, far - 0.5)
    return dice.uniform(near + 0.5, left - 0.3)


def _plan_group(dice: Dice, kind: int, setting: Setting) -> list[Thing]:
    """Draws a thing and perhaps one or two more of its kind beside it."""
    camera, street = setting.camera, setting.street
    column, scale = find_spot(dice, kind, setting)
    group = [draw(dice, kind, column, scale, setting)]
    if kind not in _GAPS or not dice.chance(_MORE_IN_GROUP):
        return group
    for number in range(1, 2 + dice.index(2)):
        step = number * _GAPS[kind] * dice.uniform(0.85, 1.25)
        if street.is_along and kind != PERSON:
            depth = camera.focal / scale + 1.2 * step
            other = camera.focal / depth
            at = camera.vanish + (column - camera.vanish) * (other / scale)
        else:
            other = scale * dice.uniform(0.96, 1.04)
            at = column + step * scale
        group.append(draw(dice, kind, at, other, setting))
    return group


def draw(
    dice: Dice, kind: int, column: float, scale: float, setting: Setting
) -> Thing:
    """Draws a thing; the same dice draw it alike at every place."""
    place = Place(setting.camera, setting.light, column, scale)
    is_along = setting.street.is_along
    draw_sprite: Callable[[Dice, Place], Sprite]
    draw_sprite, width = {
        CAR: (
            (cars.draw_car_end, 1.0) if is_along else (cars.draw_car_side, 2.1)
        ),
        PERSON: (figures.draw_person, 0.4),
        SIGN: (figures.draw_sign, 0.4),
        TREE: (figures.draw_tree, 1.2),
        CLUTTER: (figures.draw_clutter, 0.5),
    }[kind]
    return Thing(draw_sprite(dice, place), kind, False, scale, column, width)


def _plan_crowd(dice: Dice, setting: Setting) -> Thing:
    """Draws persons who are too close together for single labels."""
    camera = setting.camera
    column, scale = find_spot(dice, PERSON, setting)
    scale = min(scale, 0.4 * camera.nearest_scale())
    members = []
    for _ in range(8 + dice.index(7)):
        at = column + dice.uniform(-1.6, 1.6) * scale
        near = scale * dice.uniform(0.9, 1.1)
        members.append(draw(dice, PERSON, at, near, setting))
    members.sort(key=lambda member: member.scale)
    sprite = merge([member.sprite for member in members])
    return Thing(sprite, PERSON, True, scale, column, 1.8)
