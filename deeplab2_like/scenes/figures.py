# SPDX-License-Identifier: Apache-2.0
"""Persons, signs and trees of the scenes, and clutter without a class.

Each `draw_...` function returns a sprite. Lengths are in meters; things are
broader than real ones.
"""

import math

from deeplab2_like.scenes.drawing import (
    Color,
    Dice,
    Point,
    Sprite,
    color,
    mix,
    ramp,
    texture,
)
from deeplab2_like.scenes.light import (
    BLACK,
    HEDGES,
    LEAVES,
    PAINTS,
    SIGN_PAINTS,
    WHITE,
    pick_paint,
)
from deeplab2_like.scenes.place import Place, finish

_SKINS = (
    color(0.95, 0.78, 0.66),
    color(0.84, 0.64, 0.48),
    color(0.62, 0.43, 0.31),
    color(0.42, 0.28, 0.20),
)
_HAIRS = (
    color(0.14, 0.11, 0.10),
    color(0.36, 0.23, 0.14),
    color(0.75, 0.60, 0.34),
    color(0.58, 0.57, 0.56),
    color(0.56, 0.26, 0.14),
)


def _paint(dice: Dice) -> Color:
    return dice.pick(PAINTS) * dice.uniform(0.8, 1.08)


def draw_person(dice: Dice, place: Place) -> Sprite:
    """Draws a person, walking or standing."""
    is_child = dice.chance(0.2)
    tall = dice.uniform(1.15, 1.4) if is_child else dice.uniform(1.65, 1.95)
    k = tall / 1.75
    sprite = place.open(0.8 * k, 0.8 * k, tall + 0.25)
    coat, legs = _paint(dice), _paint(dice) * 0.8
    skin, hair = dice.pick(_SKINS), dice.pick(_HAIRS)
    way, step = dice.sign(), dice.uniform(0.12, 0.26)

    def at(u: float, v: float) -> Point:
        return way * u * k, v * k

    def arm(shoulder: float, hand: float, paint: Color) -> None:
        sprite.line(paint, at(shoulder, 1.26), at(hand, 0.92), 0.09 * k)
        sprite.ellipse(skin, at(hand, 0.86), (0.09 * k, 0.09 * k))

    arm(-0.24, -0.28 - 0.6 * step, coat * 0.75)
    for side, bright in ((-1, 0.8), (1, 1.0)):
        hip, foot = at(side * 0.1, 0.78), at(side * step, 0.1)
        sprite.line(legs * bright, hip, foot, 0.16 * k)
        shoe = at(side * step + 0.06, 0.05)
        sprite.ellipse(BLACK, shoe, (0.15 * k, 0.07 * k))
    if dice.chance(0.3):
        skirt = [at(-0.2, 0.95), at(0.2, 0.95), at(0.36, 0.45), at(-0.36, 0.45)]
        sprite.polygon(coat * 0.9, skirt)
    if dice.chance(0.3):
        bag = _paint(dice)
        sprite.box(bag, at(-0.26, 1.15), (0.15 * k, 0.26 * k), 0.08 * k)
    sprite.box(coat, at(0, 1.06), (0.34 * k, 0.37 * k), 0.2 * k)
    arm(0.22, 0.27 + 0.6 * step, coat * 0.88)
    sprite.box(skin * 0.9, at(0, 1.42), (0.07 * k, 0.08 * k))
    sprite.ellipse(hair, at(-0.03, 1.58), (0.27 * k, 0.25 * k))
    sprite.ellipse(skin, at(0.04, 1.54), (0.21 * k, 0.21 * k))
    if dice.chance(0.25):
        hat = _paint(dice)
        sprite.box(hat, at(0.04, 1.69), (0.32 * k, 0.04 * k), 0.03 * k)
        sprite.box(hat, at(0, 1.77), (0.22 * k, 0.1 * k), 0.06 * k)
    return finish(sprite, place, 0.4 * k, tall)


def draw_sign(dice: Dice, place: Place) -> Sprite:
    """Draws a traffic sign, a direction board or traffic lights on a pole."""
    kind = dice.pick(
        ("round", "triangle", "octagon", "diamond", "board", "lights")
    )
    high = dice.uniform(1.5, 2.0)
    size = dice.uniform(0.58, 0.72)
    sprite = place.open(1.0, 1.0, high + 0.95)
    pole = color(0.62, 0.63, 0.64) * dice.uniform(0.6, 1.0)
    sprite.box(pole, (0, high / 2), (0.13, high / 2))
    sprite.box(pole * 0.8, (0, 0.06), (0.22, 0.1), 0.05)
    paint = pick_paint(dice, SIGN_PAINTS, 0.85)
    plain = WHITE if paint.min() < 0.6 else BLACK
    rim, field = (paint, plain) if dice.chance(0.5) else (plain, paint)
    glyph = dice.pick((BLACK if plain is WHITE else WHITE, rim))
    if kind == "lights":
        _draw_lights(sprite, high, paint * 0.5, lit=dice.index(3))
    elif kind == "board":
        wide, tall = 0.9, size * 0.8
        sprite.box(rim, (0, high), (wide, tall), 0.08)
        sprite.box(field, (0, high), (wide - 0.09, tall - 0.09), 0.05)
        for row in (-0.18, 0.12):
            length = dice.uniform(0.3, 0.6)
            sprite.box(glyph, (-0.1, high + row), (length, 0.055))
    elif kind == "triangle":
        sprite.polygon(rim, _triangle(high, size * 1.15))
        sprite.polygon(field, _triangle(high, size * 0.66))
    else:
        if kind == "round":
            sprite.ellipse(rim, (0, high), (size, size))
            inner = size * 0.74
            sprite.ellipse(field, (0, high), (inner, inner))
        else:
            cut, turn = (0.42, 1.0) if kind == "octagon" else (0.0, 1.15)
            sprite.polygon(rim, _octagon(high, size * turn, cut))
            sprite.polygon(field, _octagon(high, size * turn * 0.77, cut))
        sprite.box(glyph, (0, high), (size * 0.45, size * 0.12))
        if dice.chance(0.5):
            sprite.box(glyph, (0, high), (size * 0.12, size * 0.45))
    return finish(sprite, place, 0.6, high + 0.6)


def _triangle(high: float, half: float) -> list[Point]:
    """Returns a triangle around the height `high`."""
    low = high - 0.55 * half
    return [(-half, low), (half, low), (0.0, high + 1.05 * half)]


def _octagon(high: float, half: float, cut: float) -> list[Point]:
    """Returns an octagon around the height `high`; a diamond if cut is 0."""
    cut *= half
    pairs = [(half, cut), (cut, half), (-cut, half), (-half, cut)]
    corners = pairs + [(-u, -v) for u, v in pairs]
    return [(u, high + v) for u, v in corners]


def _draw_lights(sprite: Sprite, high: float, box: Color, lit: int) -> None:
    """Draws traffic lights of which the lamp `lit` is on."""
    sprite.box(box, (0, high), (0.3, 0.68), 0.1)
    lamps = (color(1, 0.2, 0.15), color(1, 0.75, 0.2), color(0.3, 1, 0.5))
    for row, lamp in enumerate(lamps):
        glow = lamp if row == lit else lamp * 0.3
        sprite.ellipse(glow, (0, high + 0.42 - 0.42 * row), (0.17, 0.17))


def draw_tree(dice: Dice, place: Place) -> Sprite:
    """Draws a tree: a trunk and a leafy crown, round, tall or a fir."""
    kind = dice.pick(("round", "round", "tall", "fir"))
    high = dice.uniform(2.7, 4.2)
    wide = dice.uniform(0.85, 1.3) * (0.65 if kind == "tall" else 1.0)
    sprite = place.open(wide + 0.4, wide + 0.4, high + 0.5)
    bark = mix(color(0.36, 0.26, 0.19), dice.pick(PAINTS), 0.2)
    clear = dice.uniform(0.7, 1.2)
    foot = dice.uniform(0.22, 0.32)
    neck, fork = foot * 0.62, high * 0.6
    trunk = [(-foot, 0.0), (foot, 0.0), (neck, fork), (-neck, fork)]
    sprite.polygon(bark, trunk)
    leaf = dice.pick(LEAVES if dice.chance(0.85) else HEDGES)
    leaf = leaf * dice.uniform(0.8, 1.1)
    if kind == "fir":
        _draw_fir(sprite, leaf, (clear, high), wide)
    else:
        _draw_crown(sprite, dice, place, leaf, (clear, high), wide)
    shift = (dice.uniform(0, 256), dice.uniform(0, 256))
    crown = ramp((sprite.v - clear) * 3.0)
    leaves = texture(
        "leaf", sprite.v * 15.0 + shift[0], sprite.u * 15.0 + shift[1], True
    )
    fine = texture(
        "leaf", sprite.v * 40.0 + shift[1], sprite.u * 40.0 + shift[0]
    )
    leaves = 0.55 * leaves + 0.45 * fine
    sprite.shade(1.0 + crown * (0.9 * leaves - 0.45))
    return finish(sprite, place, wide, high)


def _draw_fir(
    sprite: Sprite, leaf: Color, rows: tuple[float, float], wide: float
) -> None:
    """Draws three cones above each other between two heights."""
    clear, high = rows
    tall = high - clear
    for layer in range(3):
        low = clear + tall * 0.28 * layer
        half = wide * (1.0 - 0.27 * layer)
        peak = (0.0, min(low + tall * 0.55, high))
        corners = [(-half, low), (half, low), peak]
        sprite.polygon(leaf * (0.8 + 0.1 * layer), corners)


def _draw_crown(
    sprite: Sprite,
    dice: Dice,
    place: Place,
    leaf: Color,
    rows: tuple[float, float],
    wide: float,
) -> None:
    """Draws a crown of many balls, the upper ones brighter and in front."""
    middle, tall = (rows[0] + rows[1]) / 2, (rows[1] - rows[0]) / 2
    balls = [(0.0, 0.0, 0.8)]
    for _ in range(6):
        at = dice.uniform(-0.5, 0.5), dice.uniform(-0.55, 0.6)
        balls.append((*at, dice.uniform(0.36, 0.52)))
    for _ in range(10):
        u, v = dice.uniform(-1, 1), dice.uniform(-1, 1)
        rim = 0.82 / max(math.sqrt(u * u + v * v), 0.1)
        balls.append((u * rim, v * rim, dice.uniform(0.12, 0.24)))
    balls.sort(key=lambda ball: ball[1])
    for u, v, size in balls:
        bright = 0.86 + 0.22 * v + 0.12 * u * place.light.sun
        center = (u * wide, middle + v * tall)
        sprite.ellipse(leaf * bright, center, (size * wide, size * tall))


def draw_clutter(dice: Dice, place: Place) -> Sprite:
    """Draws a bench, a bin or a post box, which have no class."""
    paint = _paint(dice)
    kind = dice.index(3)
    sprite = place.open(1.1, 1.1, 1.5)
    if kind == 0:
        for row in (0.5, 0.75, 0.95):
            sprite.box(paint, (0, row), (0.95, 0.08), 0.03)
        for side in (-0.7, 0.7):
            sprite.box(BLACK, (side, 0.3), (0.06, 0.3))
    elif kind == 1:
        sprite.box(paint, (0, 0.5), (0.32, 0.5), 0.06)
        sprite.box(paint * 0.7, (0, 1.02), (0.38, 0.09), 0.05)
        sprite.ellipse(BLACK, (0.2, 0.08), (0.1, 0.1))
    else:
        sprite.box(paint * 0.6, (0, 0.3), (0.08, 0.3))
        sprite.box(paint, (0, 0.85), (0.34, 0.34), 0.2)
        sprite.box(BLACK, (0, 0.95), (0.2, 0.04))
    return finish(sprite, place, 0.7, 1.3)
