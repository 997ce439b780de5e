# SPDX-License-Identifier: Apache-2.0
"""Cars of the scenes, from their sides and from their ends.

Lengths are in meters; u and v are those of `drawing.Sprite`.
"""

import dataclasses

from deeplab2_like.scenes.drawing import (
    Color,
    Dice,
    Point,
    Sprite,
    color,
    mix,
)
from deeplab2_like.scenes.light import BLACK, CAR_PAINTS, WHITE, pick_paint
from deeplab2_like.scenes.place import Place, finish

_RIM = color(0.70, 0.70, 0.70)
_HEADLIGHT = color(1.0, 0.94, 0.72)
_REAR_LIGHT = color(0.80, 0.12, 0.10)
_WAIST = 0.98
_BELT = 0.8
_VAN = 3
# Ends of the cabin as parts of half the length: front and rear at the belt,
# front and rear at the roof.
_CABINS = (
    (0.55, -0.75, 0.22, -0.50),
    (0.60, -0.97, 0.25, -0.82),
    (0.45, -0.60, 0.10, -0.35),
    (0.97, -0.98, 0.62, -0.96),
)


def _glass(place: Place) -> Color:
    return mix(color(0.17, 0.21, 0.27), place.light.sky_low, 0.25)


def _between(first: Point, second: Point, part: float) -> Point:
    """Returns the point at `part` of the way from the first to the second."""
    return (
        first[0] + (second[0] - first[0]) * part,
        first[1] + (second[1] - first[1]) * part,
    )


def _shrink(points: list[Point], part: float) -> list[Point]:
    """Moves points by `part` of the way to their middle."""
    count = len(points)
    middle = (
        sum(p[0] for p in points) / count,
        sum(p[1] for p in points) / count,
    )
    return [_between(point, middle, part) for point in points]


def draw_car_side(dice: Dice, place: Place) -> Sprite:
    """Draws a car or van, seen from its side."""
    kind = dice.index(len(_CABINS))
    is_van = kind == _VAN
    length = dice.uniform(3.6, 4.6) + (0.8 if is_van else 0.0)
    top = dice.uniform(2.1, 2.5) if is_van else dice.uniform(1.5, 1.75)
    half = length / 2
    sprite = place.open(half + 0.1, half + 0.1, top + 0.1)
    paint = pick_paint(dice, CAR_PAINTS, 0.8)
    cabin = WHITE if not is_van and dice.chance(0.15) else paint
    way = dice.sign() * half

    front, rear, roof_front, roof_rear = _CABINS[kind]
    sprite.polygon(
        cabin,
        [
            (way * rear, _BELT),
            (way * front, _BELT),
            (way * roof_front, top),
            (way * roof_rear, top),
        ],
    )
    nose = 0.62 if is_van else 0.56
    sprite.box(paint, (0, nose), (half, _WAIST - nose + 0.06), 0.24)
    sprite.box(paint * 0.6, (0, 0.34), (half * 0.96, 0.10), 0.06)
    split = (front + rear) / 2 + 0.05
    panes = [(front - 0.05, roof_front - 0.05, split + 0.03, split + 0.03)]
    if not is_van:
        edge = split - 0.03
        panes.append((edge, edge, rear + 0.05, roof_rear + 0.05))
    for pane in panes:
        sprite.polygon(_glass(place), _pane(pane, way, top))
    door = way * split
    sprite.line(paint * 0.7, (door, 0.45), (door, _WAIST), 0.02)
    gleam = mix(paint, WHITE, 0.5)
    sprite.box(gleam, (0, _WAIST - 0.06), (half * 0.9, 0.025))
    sprite.ellipse(_HEADLIGHT, (0.95 * way, 0.72), (0.11, 0.10))
    sprite.ellipse(_REAR_LIGHT, (-0.96 * way, 0.74), (0.09, 0.11))
    for axle in (-0.60 * way, 0.60 * way):
        sprite.ellipse(BLACK, (axle, 0.36), (0.38, 0.38))
        sprite.ellipse(_RIM, (axle, 0.36), (0.20, 0.20))
    return finish(sprite, place, half, top)


def _pane(
    pane: tuple[float, float, float, float], way: float, top: float
) -> list[Point]:
    """Returns the corners of a side window between two slanted pillars.

    Args:
        pane: First pillar at belt and roof, second at belt and roof, as parts
            of half the length.
        way: Half the length, negative if the car drives to the left.
        top: Height of the roof.
    """
    low, high = _WAIST + 0.04, top - 0.14

    def corner(at_belt: float, at_roof: float, v: float) -> Point:
        part = (v - _BELT) / (top - _BELT)
        return way * (at_belt + (at_roof - at_belt) * part), v

    return [
        corner(pane[0], pane[1], low),
        corner(pane[0], pane[1], high),
        corner(pane[2], pane[3], high),
        corner(pane[2], pane[3], low),
    ]


@dataclasses.dataclass(frozen=True)
class _Body:
    """A car, seen from one of its ends.

    Attributes:
        place: Where its near end stands.
        half: Half its width.
        narrow: Half the width of its roof.
        top: Height of the roof.
        length: Extent away from the camera.
        slant: Start of the roof, as a part of the length.
        paint: Its color.
    """

    place: Place
    half: float
    narrow: float
    top: float
    length: float
    slant: float
    paint: Color

    def far(self, u: float, v: float, part: float = 1.0) -> Point:
        """Returns (u, v) at which a point further back appears."""
        return self.place.behind((u, v), part * self.length)


def draw_car_end(dice: Dice, place: Place) -> Sprite:
    """Draws a car from the front or rear, with its visible side."""
    tall = dice.chance(0.25)
    half = dice.uniform(0.86, 1.0) + (0.1 if tall else 0.0)
    body = _Body(
        place=place,
        half=half,
        narrow=half - (0.06 if tall else 0.22),
        top=dice.uniform(2.0, 2.4) if tall else dice.uniform(1.5, 1.7),
        length=dice.uniform(3.4, 4.4),
        slant=0.0 if tall else 0.25,
        paint=pick_paint(dice, CAR_PAINTS, 0.8),
    )
    left, right = body.far(-half, body.top), body.far(half, body.top)
    sprite = place.open(
        max(half, -left[0]) + 0.1,
        max(half, right[0]) + 0.1,
        max(body.top, left[1]) + 0.1,
    )
    _draw_far_parts(sprite, body)
    _draw_near_end(sprite, body, is_rear=dice.chance(0.6))
    return finish(sprite, place, half, body.top)


def _draw_far_parts(sprite: Sprite, body: _Body) -> None:
    """Draws the parts behind the near end: deck, side, roof, screen."""
    half, narrow, top, far = body.half, body.narrow, body.top, body.far
    place, paint = body.place, body.paint
    deck = [(-half, _WAIST), (half, _WAIST)]
    sprite.polygon(paint * 0.95, [*deck, far(half, _WAIST), far(-half, _WAIST)])
    side = 1.0 if place.column < place.camera.vanish else -1.0
    bright = 1.0 if side * place.light.sun > 0 else 0.72
    edge, rail = side * half, side * narrow
    # Begins inside, so that there is no gap at the near end's round corners.
    near, rim = 0.85 * edge, _WAIST + 0.03
    flank = [(near, 0.3), (near, rim), far(edge, rim), far(edge, 0.3)]
    sprite.polygon(paint * (0.8 * bright), flank)
    for axle in (0.2, 0.78):
        front, rear = far(edge, 0.34, axle - 0.1), far(edge, 0.34, axle + 0.1)
        width = max(abs(front[0] - rear[0]) / 2, 0.07)
        sprite.ellipse(BLACK, far(edge, 0.34, axle), (width, 0.33))
    windows = [
        far(edge, _WAIST, body.slant / 2),
        far(rail, top, body.slant),
        far(rail, top, 0.7),
        far(edge, _WAIST, 0.85),
    ]
    sprite.polygon(paint * (0.85 * bright), windows)
    sprite.polygon(_glass(place) * 0.9, _shrink(windows, 0.22))
    left, right = far(-narrow, top, body.slant), far(narrow, top, body.slant)
    roof = [left, right, far(narrow, top, 0.7), far(-narrow, top, 0.7)]
    sprite.polygon(mix(paint, WHITE, 0.18), roof)
    screen = [
        far(-half, _WAIST, body.slant / 2),
        left,
        right,
        far(half, _WAIST, body.slant / 2),
    ]
    sprite.polygon(paint * 0.9, screen)
    sprite.polygon(_glass(place), _shrink(screen, 0.16))
    pillar = _between(windows[0], windows[1], 0.95)
    sprite.line(paint * 0.85, windows[0], pillar, 0.05)


def _draw_near_end(sprite: Sprite, body: _Body, is_rear: bool) -> None:
    """Draws the end with lights, bumper and plate."""
    half, paint = body.half, body.paint
    for side in (-1, 1):
        sprite.box(BLACK, (side * (half - 0.2), 0.2), (0.16, 0.22), 0.06)
    sprite.box(paint, (0, 0.63), (half, 0.38), 0.16)
    sprite.box(paint * 0.55, (0, 0.36), (half * 0.97, 0.10), 0.05)
    lamp = _REAR_LIGHT if is_rear else _HEADLIGHT
    for side in (-1, 1):
        sprite.box(lamp, (side * (half - 0.2), 0.76), (0.15, 0.09), 0.05)
    if not is_rear:
        sprite.box(BLACK, (0, 0.66), (half * 0.45, 0.1), 0.04)
    sprite.box(WHITE, (0, 0.5), (0.26, 0.07))
