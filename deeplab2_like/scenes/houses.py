# SPDX-License-Identifier: Apache-2.0
"""Rows of houses, hedges and woods on both sides and at the end of a street.

A row is a vertical plane. Each column of the image shows one place u of it, so
that values that depend on u alone are computed once per column.
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
    scatter,
    texture,
)
from deeplab2_like.scenes.light import (
    HEDGES,
    HOUSE_PAINTS,
    PAINTS,
    Light,
    pick_paint,
)
from deeplab2_like.scenes.street import (
    BUILDING,
    VEGETATION,
    Canvas,
    Street,
)

_FLAT, _GABLE, _MANSARD, _STEPPED = range(4)
_GLASS = color(0.20, 0.25, 0.32)
_LAMP = color(1.0, 0.82, 0.45)


@dataclasses.dataclass(frozen=True)
class _Row:
    """Houses and hedges beside each other; arrays have one entry for each.

    Attributes:
        bounds: float32 [n + 1], their ends along u, meters.
        values: float32 [n, 11], in the order of `_VALUES`.
        colors: float32 [4, 3, n], wall, roof, trim and awning.
    """

    bounds: np.ndarray
    values: np.ndarray
    colors: np.ndarray


_VALUES = (
    "is_house",
    "eaves",
    "rise",
    "roof",
    "pitch_u",
    "pitch_v",
    "half_u",
    "half_v",
    "has_shop",
    "chimney",
    "story",
)


def _house(dice: Dice) -> list[float]:
    """Draws the measures of a house, in the order of `_VALUES`."""
    story = dice.uniform(2.7, 3.4)
    floors = 1 + dice.index(4)
    roof = dice.index(4)
    rise = dice.uniform(0.3, 0.6) if roof == _FLAT else dice.uniform(1.6, 3.2)
    return [
        1.0,
        story * floors + 0.4,
        rise,
        float(roof),
        dice.uniform(1.7, 2.8),
        story,
        dice.uniform(0.22, 0.34),
        dice.uniform(0.22, 0.32),
        float(dice.chance(0.4)),
        dice.uniform(0.2, 0.8),
        story,
    ]


def _hedge(dice: Dice) -> list[float]:
    """Draws the measures of a hedge or wood, in the order of `_VALUES`."""
    tall = dice.chance(0.4)
    eaves = dice.uniform(3.0, 6.0) if tall else dice.uniform(1.0, 2.4)
    rise = eaves * 0.35
    return [0.0, eaves, rise, float(_FLAT), 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 3.0]


def _make_row(dice: Dice, start: float, end: float, green: float) -> _Row:
    """Draws a row from u = `start` to `end`; `green` is the share of hedges."""
    bounds, values, colors = [start], [], []
    while bounds[-1] < end:
        is_house = not dice.chance(green)
        values.append(_house(dice) if is_house else _hedge(dice))
        wall = pick_paint(dice, HOUSE_PAINTS, 0.75)
        if not is_house:
            wall = dice.pick(HEDGES) * dice.uniform(0.7, 1.05)
        roof = dice.pick(PAINTS) * dice.uniform(0.45, 0.85)
        trim = mix(dice.pick(PAINTS), color(1, 1, 1), dice.uniform(0.2, 0.9))
        colors.append((wall, roof, trim, dice.pick(PAINTS)))
        width = dice.uniform(4.5, 10.0) if is_house else dice.uniform(3.0, 7.0)
        bounds.append(bounds[-1] + width)
    return _Row(
        np.array(bounds, np.float32),
        np.array(values, np.float32),
        np.array(colors, np.float32).transpose(1, 2, 0),
    )


@dataclasses.dataclass(frozen=True)
class _Plane:
    """The w columns of the image that show a row; arrays are float32 [w].

    Attributes:
        columns: The columns of the image.
        u: Place along the row that each column shows, meters.
        scale: Pixels of a meter upwards.
        stretch: Pixels of a meter along u.
        bright: Number, factor for the side of the street, in sun or shadow.
    """

    columns: slice
    u: np.ndarray
    scale: np.ndarray
    stretch: np.ndarray
    bright: float


class _Fronts:
    """The house or hedge in each column of a plane; arrays [w] or [3, w].

    Attributes:
        index: Index of the house or hedge in its row.
        at: Values of the house or hedge by the names in `_VALUES`.
        from_left: Distance from its left end, meters.
        width: Width of the house or hedge, meters.
        green: Whether it is a hedge.
        wall, roof, trim, awning: Colors.
        top: Height at this column, meters.
    """

    def __init__(self, row: _Row, u: np.ndarray):
        """Looks up the houses and hedges in columns.

        Args:
            row: The houses and hedges.
            u: float32 [w], place of each column along the row, meters.
        """
        index = np.searchsorted(row.bounds, u, side="right") - 1
        index = np.clip(index, 0, len(row.values) - 1)
        self.index = index
        self.at = {k: row.values[index, i] for i, k in enumerate(_VALUES)}
        self.wall, self.roof, self.trim, self.awning = row.colors[:, :, index]
        self.from_left = u - row.bounds[index]
        self.width = row.bounds[index + 1] - row.bounds[index]
        self.green = self.at["is_house"] < 0.5
        bumps = texture("leaf", index * 37.0, u * 14.0) * 0.5
        bumps = bumps + texture("cloud", index * 37.0, u * 9.0) * 0.5
        rise = np.where(self.green, bumps, self._profile())
        self.top = self.at["eaves"] + self.at["rise"] * rise

    def _profile(self) -> np.ndarray:
        """Returns the height of the roof as a part of its rise, in 0..1.25."""
        part, roof = self.from_left / self.width, self.at["roof"]
        slope = 1.0 - np.abs(2.0 * part - 1.0)
        rise = np.where(roof == _GABLE, slope, np.float32(1.0))
        rise = np.where(roof == _MANSARD, ramp(slope * 5.0), rise)
        steps = np.floor(slope * 5.0 + 1.0) * 0.2
        rise = np.where(roof == _STEPPED, ramp(steps), rise)
        chimney = (np.abs(part - self.at["chimney"]) < 0.05) & (roof != _FLAT)
        return rise + np.where(chimney, np.float32(0.25), np.float32(0))


def _paint_row(
    canvas: Canvas, camera: Camera, row: _Row, plane: _Plane, light: Light
) -> None:
    """Paints a row over the canvas, which is changed."""
    fronts, scale = _Fronts(row, plane.u), plane.scale
    base = np.float32(camera.horizon) + np.float32(camera.eye) * scale
    first = int(max(np.min(base - fronts.top * scale) - 1, 0))
    last = int(min(np.max(base) + 2, camera.height))
    if first >= last:
        return
    y = np.arange(first, last, dtype=np.float32)[:, None]
    v = (base - y) / scale
    look = _paint_walls(fronts, plane, v)
    _paint_windows(look, fronts, plane, v, light)
    green = fronts.green
    if green.any():
        leaf = texture("leaf", v * 13.0, plane.u * 13.0)
        lit = (0.55 + 0.75 * leaf) * (0.75 + 0.25 * ramp(v / fronts.top))
        look = np.where(green, fronts.wall[:, None] * lit, look)
    haze = light.sky_low[:, None, None]
    look += (haze - look) * np.where(green, np.float32(0.05), np.float32(0.2))
    look *= plane.bright
    look *= 0.82 + 0.18 * ramp(v * 0.7)
    look += (haze - look) * light.hidden(scale, camera.focal)
    cover = ramp((fronts.top - v) * scale + 0.5) * ramp(v * scale + 0.5)
    rgb = canvas.rgb[:, first:last, plane.columns]
    rgb += (look - rgb) * cover
    kind = np.where(green, np.int32(VEGETATION), np.int32(BUILDING))
    label = canvas.panoptic[first:last, plane.columns]
    label[:] = np.where(cover > 0.5, kind, label)


def _paint_walls(fronts: _Fronts, plane: _Plane, v: np.ndarray) -> np.ndarray:
    """Returns the colors of walls and roofs, float32 [3, h, w].

    Args:
        fronts: The houses and hedges.
        plane: The columns.
        v: float32 [h, w], meters above the ground.
    """
    at, scale = fronts.at, plane.scale
    near = ramp(scale * 0.06)
    shift = fronts.index * 31.0
    stain = texture("grain", v * 6.0, plane.u * 6.0 + shift) - 0.5
    courses = ramp(np.abs(fraction(v / 0.5) - 0.5) * 8.0 - 0.6)
    look = fronts.wall[:, None] * (
        1.0 + 0.16 * near * stain - 0.12 * near * (1.0 - courses)
    )
    tiles = 0.86 + 0.28 * near * np.abs(fraction(v / 0.6) - 0.5)
    over = ramp((v - at["eaves"]) * scale + 0.5)
    over = np.where(at["roof"] == _STEPPED, np.float32(0), over)
    look += (fronts.roof[:, None] * tiles - look) * over
    cornice = np.abs(v - at["eaves"] + 0.12) * scale
    look *= 1.0 - 0.3 * ramp(1.2 - cornice)
    return look


def _paint_windows(
    look: np.ndarray,
    fronts: _Fronts,
    plane: _Plane,
    v: np.ndarray,
    light: Light,
) -> None:
    """Paints windows, doors, shop windows and awnings over walls.

    Args:
        look: float32 [3, h, w], colors of the walls, which are changed.
        fronts: The houses and hedges.
        plane: The columns.
        v: float32 [h, w], meters above the ground.
        light: The weather.
    """
    at, scale = fronts.at, plane.scale
    columns = np.maximum(np.floor(fronts.width / at["pitch_u"]), 1.0)
    pitch = fronts.width / columns
    cell_u, cell_v = fronts.from_left / pitch, v / at["pitch_v"]
    place_v = fraction(cell_v)
    has_shop, ground = at["has_shop"] > 0.5, v < at["story"]
    shop = has_shop & ground
    chance = scatter(np.floor(cell_u) + fronts.index * 61, np.floor(cell_v), 3)
    door = ground & (chance < 0.22) & (np.floor(cell_v) == 0)

    def choose(plain, of_shop: float, of_door: float) -> np.ndarray:
        chosen = np.where(shop, np.float32(of_shop), plain)
        return np.where(door, np.float32(of_door), chosen)

    half_u = choose(at["half_u"], 0.42, 0.26)
    half_v = choose(at["half_v"], 0.26, 0.35)
    middle = choose(np.float32(0.52), 0.42, 0.35)
    right = (half_u - np.abs(fraction(cell_u) - 0.5)) * pitch * plane.stretch
    up = (half_v - np.abs(place_v - middle)) * at["pitch_v"] * scale
    inside = np.minimum(right, up)
    inside = np.where(v < at["eaves"] - 0.2, inside, np.float32(-9))
    frame = ramp(inside + np.maximum(scale * 0.16, 0.6))
    look += (fronts.trim[:, None] - look) * (frame * 0.85)
    sky = light.sky_low[:, None, None]
    pane = mix(_GLASS[:, None, None], sky, 0.15 + 0.4 * place_v)
    pane *= 0.75 + 0.5 * chance
    lit = fraction(chance * 7.0) < light.lit
    pane = np.where(lit, _LAMP[:, None, None], pane)
    pane = np.where(door, fronts.awning[:, None] * np.float32(0.6), pane)
    look += (pane - look) * ramp(inside + 0.2)
    stripes = fraction(fronts.from_left / 0.9) < 0.5
    cloth = np.where(stripes, fronts.awning[:, None], np.float32(0.93))
    low, high = 0.72 * at["story"], 0.92 * at["story"]
    band = ramp(np.minimum(v - low, high - v) * scale + 0.5)
    look += (cloth - look) * np.where(has_shop, band, np.float32(0))


def paint_houses(
    canvas: Canvas, camera: Camera, street: Street, light: Light, dice: Dice
) -> None:
    """Paints the houses at the end of the street, then those on its sides."""
    x = np.arange(camera.width, dtype=np.float32)
    side = x - np.float32(camera.vanish)
    scale = camera.focal / street.end
    low = float(-camera.vanish / scale) - 1.0
    high = low + camera.width / scale + 2.0
    green = dice.pick((0.1, 0.3, 0.6))
    whole = np.full(camera.width, scale, np.float32)
    row = _make_row(dice, low - dice.uniform(0, 6), high, green)
    plane = _Plane(
        columns=slice(0, camera.width),
        u=side / np.float32(scale),
        scale=whole,
        stretch=whole,
        bright=dice.uniform(0.75, 1.05),
    )
    _paint_row(canvas, camera, row, plane, light)
    if not street.is_along:
        return
    for front in street.fronts:
        row = _make_row(dice, -dice.uniform(0, 6), street.end, green)
        in_sun = front * light.sun < 0
        bright = 1.0 if in_sun else 1.0 - 0.7 * light.shadow
        upright = side / np.float32(front)
        seen = np.flatnonzero(upright >= np.float32(scale))
        if not len(seen):
            continue
        columns = slice(int(seen[0]), int(seen[-1]) + 1)
        upright = upright[columns]
        plane = _Plane(
            columns=columns,
            u=np.float32(camera.focal) / upright,
            scale=upright,
            stretch=upright * upright * np.float32(abs(front) / camera.focal),
            bright=bright,
        )
        _paint_row(canvas, camera, row, plane, light)
