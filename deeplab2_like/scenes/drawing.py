# SPDX-License-Identifier: Apache-2.0
"""Drawing tools of the scenes: random values, camera, noise and sprites.

Everything is drawn from signed distances, so that edges are smooth at every
image size. Only +, -, *, /, square root, floor and comparisons touch pixels:
these are exact in IEEE arithmetic, so a seed gives the same picture on every
machine. (sin, exp and pow differ in the last bit between processors.)

Color planes are float32 [3, H, W] in 0..1. Coordinates of sprites are in
meters: u to the right and v upwards from the foot of the object on the ground.
"""

import copy
import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Point = tuple[float, float]
Color = np.ndarray
"""float32 [3], red, green and blue in 0..1."""

_TILE = 256
_FAR = 1e6


class Dice:
    """Random values that are the same on every machine and NumPy version."""

    def __init__(self, seed: int, stream: int):
        """Starts a stream of random values.

        Args:
            seed: Any integer >= 0.
            stream: Number of the stream; streams of one seed are independent.
        """
        sequence = np.random.SeedSequence([seed, stream])
        self._generator = np.random.Generator(np.random.PCG64(sequence))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """Returns a number in [low, high)."""
        return low + (high - low) * float(self._generator.random())

    def chance(self, probability: float) -> bool:
        """Returns True with this probability."""
        return float(self._generator.random()) < probability

    def index(self, count: int) -> int:
        """Returns an integer in 0..count-1."""
        return int(float(self._generator.random()) * count)

    def pick(self, items: Sequence[T]) -> T:
        """Returns one of the items, each as probable as the others."""
        return items[self.index(len(items))]

    def sign(self) -> float:
        """Returns -1.0 or 1.0."""
        return 1.0 if self.chance(0.5) else -1.0

    def grain(self, *shape: int) -> np.ndarray:
        """Returns float32 [*shape] of uniform numbers in [0, 1)."""
        return self._generator.random(shape, dtype=np.float32)


@dataclasses.dataclass(frozen=True)
class Camera:
    """Position and direction of the camera, which is level with the horizon.

    A `scale` is the size of a meter in pixels. It falls with the distance,
    and at the row y on the ground it is (y - horizon) / camera height.

    Attributes:
        height: Rows of the image.
        width: Columns of the image.
        horizon: Row of the horizon, pixels.
        vanish: Column of the vanishing point of the street, pixels.
        eye: Height of the camera above the ground, meters.
    """

    height: int
    width: int
    horizon: float
    vanish: float
    eye: float

    @property
    def focal(self) -> float:
        """Focal length in pixels: the scale at a distance of one meter."""
        return float(self.height)

    def ground_row(self, scale: float) -> float:
        """Returns the row of the ground at a scale."""
        return self.horizon + self.eye * scale

    def nearest_scale(self) -> float:
        """Returns the scale at the lower edge of the image."""
        return (self.height - self.horizon) / self.eye


def color(red: float, green: float, blue: float) -> Color:
    """Returns a color, float32 [3]."""
    return np.array((red, green, blue), np.float32)


def mix(
    first: np.ndarray, second: np.ndarray, part: float | np.ndarray
) -> np.ndarray:
    """Returns (1 - part) * first + part * second."""
    return first + (second - first) * part


def ramp(value: np.ndarray) -> np.ndarray:
    """Returns `value` clipped to 0..1, as coverage from distances in pixels."""
    return np.minimum(np.maximum(value, 0.0), 1.0)


def fraction(value: np.ndarray) -> np.ndarray:
    """Returns value - floor(value), in 0..1."""
    return value - np.floor(value)


def scatter(first: np.ndarray, second: np.ndarray, salt: int) -> np.ndarray:
    """Returns a fixed random number in [0, 1) for each pair of integers.

    Args:
        first: Numbers of any shape, whose integer parts are used.
        second: Numbers that broadcast with `first`.
        salt: Another integer that changes all results.

    Returns:
        float32 of the broadcast shape.
    """
    mixed = first.astype(np.int32) * np.int32(73856093)
    mixed = mixed ^ (second.astype(np.int32) * np.int32(19349663))
    mixed = mixed ^ np.int32((salt * 83492791) & 0x7FFFFFFF)
    mixed = mixed ^ (mixed >> np.int32(13))
    mixed = mixed * np.int32(1274126177)
    low = (mixed ^ (mixed >> np.int32(16))) & np.int32(1023)
    return low.astype(np.float32) / np.float32(1024)


def _octave(dice: Dice, cells: int) -> np.ndarray:
    """Returns smooth periodic noise of `cells` bumps, float32 [256, 256]."""
    grid = dice.grain(cells, cells)
    place = np.arange(_TILE, dtype=np.float32) * np.float32(cells / _TILE)
    low = np.floor(place).astype(np.int64)
    part = place - np.floor(place)
    part = part * part * (3 - 2 * part)
    high = (low + 1) % cells
    rows = grid[low] + (grid[high] - grid[low]) * part[:, None]
    return rows[:, low] + (rows[:, high] - rows[:, low]) * part[None, :]


@functools.lru_cache(maxsize=4)
def noise_tile(kind: str) -> np.ndarray:
    """Returns a periodic noise texture, float32 [256, 256] in 0..1.

    Args:
        kind: "cloud" (soft), "leaf" (small blobs) or "grain" (fine).
    """
    weights = {
        "cloud": {4: 0.4, 8: 0.3, 16: 0.18, 32: 0.12},
        "leaf": {16: 0.2, 32: 0.35, 64: 0.45},
        "grain": {32: 0.25, 128: 0.35, 256: 0.4},
    }[kind]
    dice = Dice(0, len(kind))
    tile = np.zeros((_TILE, _TILE), np.float32)
    for cells, weight in weights.items():
        tile += np.float32(weight) * _octave(dice, cells)
    ordered = np.sort(tile, axis=None)
    low = ordered[_TILE * _TILE // 50]
    high = ordered[-(_TILE * _TILE // 50)]
    tile = ramp((tile - low) / (high - low))
    tile.setflags(write=False)
    return tile


def texture(
    kind: str, row: np.ndarray, column: np.ndarray, smooth: bool = False
) -> np.ndarray:
    """Looks up a periodic noise texture.

    Args:
        kind: See `noise_tile`.
        row: Rows in units of the texture's pixels, any shape and value.
        column: Columns; broadcasts with `row`.
        smooth: Whether to interpolate; else the nearest value is taken.

    Returns:
        float32 of the broadcast shape, in 0..1.
    """
    tile = noise_tile(kind)
    whole_row, whole_column = np.floor(row), np.floor(column)
    y = whole_row.astype(np.int32) & (_TILE - 1)
    x = whole_column.astype(np.int32) & (_TILE - 1)
    if not smooth:
        return tile[y, x]
    below, right = (y + 1) & (_TILE - 1), (x + 1) & (_TILE - 1)
    part = column - whole_column
    first = mix(tile[y, x], tile[y, right], part)
    second = mix(tile[below, x], tile[below, right], part)
    return mix(first, second, row - whole_row)


class Sprite:
    """One object, drawn on the smallest window of the image that contains it.

    Attributes:
        window: The slices (rows, columns) of the image.
        u: float32 [1, w], meters to the right of the foot of the object.
        v: float32 [h, 1], meters above the ground.
        rgb: float32 [3, h, w], colors times coverage.
        alpha: float32 [h, w], coverage in 0..1.
        scale: Pixels of a meter.
    """

    def __init__(
        self,
        camera: Camera,
        *,
        column: float,
        scale: float,
        reach: tuple[float, float],
        top: float,
        bottom: float = -0.2,
    ):
        """Opens an empty window.

        Args:
            camera: The camera of the scene.
            column: Column of the foot of the object, pixels.
            scale: Pixels of a meter at the object.
            reach: Extent to the left and to the right of the foot, meters.
            top: Extent above the ground, meters.
            bottom: Lowest v of the object, meters.
        """
        row = camera.ground_row(scale)
        y0 = min(max(int(row - top * scale) - 1, 0), camera.height)
        y1 = min(max(int(row - bottom * scale) + 2, y0), camera.height)
        x0 = min(max(int(column - reach[0] * scale) - 1, 0), camera.width)
        x1 = min(max(int(column + reach[1] * scale) + 2, x0), camera.width)
        self.window = (slice(y0, y1), slice(x0, x1))
        self.scale = scale
        self._corner = (y0 - row, x0 - column)
        y = np.arange(y0, y1, dtype=np.float32)[:, None]
        x = np.arange(x0, x1, dtype=np.float32)[None, :]
        self.v = (np.float32(row) - y) / np.float32(scale)
        self.u = (x - np.float32(column)) / np.float32(scale)
        self.rgb = np.zeros((3, y1 - y0, x1 - x0), np.float32)
        self.alpha = np.zeros((y1 - y0, x1 - x0), np.float32)

    @property
    def is_empty(self) -> bool:
        """True if no pixel of the image can belong to the object."""
        return not self.alpha.size

    def _part(
        self, low: Point, high: Point
    ) -> tuple[tuple[slice, slice], np.ndarray, np.ndarray]:
        """Returns the window between two points (u, v), with its u and v."""
        height, width = self.alpha.shape
        top, left = self._corner
        y0 = int(max(-high[1] * self.scale - top - 1, 0))
        y1 = int(min(max(-low[1] * self.scale - top + 3, y0), height))
        x0 = int(max(low[0] * self.scale - left - 1, 0))
        x1 = int(min(max(high[0] * self.scale - left + 3, x0), width))
        part = (slice(y0, y1), slice(x0, x1))
        return part, self.u[:, x0:x1], self.v[y0:y1]

    def _cover(
        self, part: tuple[slice, slice], distance: np.ndarray, paint: Color
    ) -> None:
        """Blends paint in where `distance` (meters) is negative or small."""
        if not distance.size:
            return
        cover = ramp(0.5 - distance * np.float32(self.scale))
        rgb = self.rgb[:, part[0], part[1]]
        rgb += (paint[:, None, None] - rgb) * cover
        alpha = self.alpha[part]
        alpha += (1.0 - alpha) * cover

    def box(
        self, paint: Color, center: Point, half: Point, radius: float = 0.0
    ) -> None:
        """Paints a box with round corners, `half` its half width and height."""
        low = (center[0] - half[0], center[1] - half[1])
        high = (center[0] + half[0], center[1] + half[1])
        part, u, v = self._part(low, high)
        right = np.abs(u - center[0]) - (half[0] - radius)
        up = np.abs(v - center[1]) - (half[1] - radius)
        outside = np.maximum(right, 0) ** 2 + np.maximum(up, 0) ** 2
        inside = np.minimum(np.maximum(right, up), 0)
        self._cover(part, np.sqrt(outside) + inside - radius, paint)

    def ellipse(self, paint: Color, center: Point, half: Point) -> None:
        """Paints an ellipse with the half axes `half` (u, v)."""
        low = (center[0] - half[0], center[1] - half[1])
        high = (center[0] + half[0], center[1] + half[1])
        part, u, v = self._part(low, high)
        right = (u - center[0]) / half[0]
        up = (v - center[1]) / half[1]
        distance = np.sqrt(right * right + up * up) - 1.0
        self._cover(part, distance * min(half), paint)

    def line(
        self, paint: Color, start: Point, end: Point, radius: float
    ) -> None:
        """Paints a line with round ends, `radius` half its width."""
        low = (min(start[0], end[0]) - radius, min(start[1], end[1]) - radius)
        high = (max(start[0], end[0]) + radius, max(start[1], end[1]) + radius)
        part, u, v = self._part(low, high)
        du, dv = end[0] - start[0], end[1] - start[1]
        length = max(du * du + dv * dv, 1e-9)
        right, up = u - start[0], v - start[1]
        along = ramp((right * du + up * dv) / length)
        right, up = right - along * du, up - along * dv
        distance = np.sqrt(right * right + up * up) - radius
        self._cover(part, distance, paint)

    def polygon(self, paint: Color, points: Sequence[Point]) -> None:
        """Paints a convex polygon, with corners in either direction of turn."""
        us, vs = [p[0] for p in points], [p[1] for p in points]
        ends = list(zip(points, [*points[1:], points[0]], strict=True))
        area = sum(a[0] * b[1] - b[0] * a[1] for a, b in ends)
        part, u, v = self._part((min(us), min(vs)), (max(us), max(vs)))
        distance = np.full((v.shape[0], u.shape[1]), -_FAR, np.float32)
        turn = 1.0 if area > 0 else -1.0
        for (u0, v0), (u1, v1) in ends:
            du, dv = u1 - u0, v1 - v0
            length = math.sqrt(du * du + dv * dv)
            if length < 1e-6:
                continue
            normal = (turn * dv / length, -turn * du / length)
            edge = (u - u0) * normal[0] + (v - v0) * normal[1]
            np.maximum(distance, edge, out=distance)
        self._cover(part, distance, paint)

    def shade(self, factor: np.ndarray) -> None:
        """Multiplies the colors by `factor`, float32 broadcast to [h, w]."""
        self.rgb *= factor

    def outline(self, strength: float, width: int) -> None:
        """Darkens the rim of the object.

        Args:
            strength: 0 (no line) to 1 (black).
            width: Width of the line, pixels.
        """
        core = self.alpha
        for _ in range(width):
            inner = core.copy()
            inner[1:] = np.minimum(inner[1:], core[:-1])
            inner[:-1] = np.minimum(inner[:-1], core[1:])
            inner[:, 1:] = np.minimum(inner[:, 1:], core[:, :-1])
            inner[:, :-1] = np.minimum(inner[:, :-1], core[:, 1:])
            core = inner
        self.rgb *= 1.0 - strength * (self.alpha - core)

    def fade(self, haze: Color, part: float) -> None:
        """Mixes the share `part` of the color of the air into the object."""
        self.rgb += (haze[:, None, None] * self.alpha - self.rgb) * part


def merge(sprites: Sequence[Sprite]) -> Sprite:
    """Merges sprites into one; the first is the furthest.

    Raises:
        ValueError: There is no sprite.
    """
    if not sprites:
        raise ValueError("There must be one sprite at least.")
    rows = [s.window[0] for s in sprites]
    columns = [s.window[1] for s in sprites]
    y0, y1 = min(r.start for r in rows), max(r.stop for r in rows)
    x0, x1 = min(c.start for c in columns), max(c.stop for c in columns)
    merged = copy.copy(sprites[0])
    merged.window = (slice(y0, y1), slice(x0, x1))
    merged.rgb = np.zeros((3, y1 - y0, x1 - x0), np.float32)
    merged.alpha = np.zeros((y1 - y0, x1 - x0), np.float32)
    for sprite, r, c in zip(sprites, rows, columns, strict=True):
        part = (
            slice(r.start - y0, r.stop - y0),
            slice(c.start - x0, c.stop - x0),
        )
        rgb, alpha = merged.rgb[:, part[0], part[1]], merged.alpha[part]
        rgb += sprite.rgb - rgb * sprite.alpha
        alpha += (1.0 - alpha) * sprite.alpha
    return merged
