# SPDX-License-Identifier: Apache-2.0
"""Colors of classes and of their instances. NumPy only.

Distances are taken in OKLab (B. Ottosson, "A perceptual color space for image
processing", 2020), where equal steps look equal.
"""

import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels.descriptor import DatasetDescriptor

# Color of pixels without a class.
VOID = (32, 32, 36)

# Okabe and Ito's colors for all kinds of color vision ("Color Universal
# Design", 2008), without black, ordered so that neighbors differ most.
_FIRST_COLORS = (
    (0, 114, 178),
    (230, 159, 0),
    (0, 158, 115),
    (204, 121, 167),
    (86, 180, 233),
    (213, 94, 0),
    (240, 228, 66),
)

# Linear RGB as seen with protanopia and deuteranopia (Vienot, Brettel and
# Mollon, "Digital video colourmaps for checking the legibility of displays by
# dichromats", 1999).
_DICHROMATS = np.array(
    [
        [[0.112, 0.888, 0.0], [0.112, 0.888, 0.0], [0.004, -0.004, 1.0]],
        [[0.293, 0.707, 0.0], [0.293, 0.707, 0.0], [-0.022, 0.022, 1.0]],
    ]
)
_LINEAR_TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
_LMS_TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)
_GOLDEN_RATIO = (5**0.5 - 1) / 2


def choose_class_colors(
    descriptor: DatasetDescriptor,
) -> npt.NDArray[np.uint8]:
    """Chooses a color for each class: uint8 [C, 3].

    These are the colors of the descriptor and, where it has none, colors that
    differ as much as possible for all kinds of color vision. The most different
    ones go to the things. A class that has the color of an earlier one gets
    the color that differs most from those of all classes.
    """
    count = descriptor.num_classes
    order = sorted(range(count), key=lambda c: (not descriptor.is_thing(c), c))
    order = [c for c in order if c != descriptor.ignore_label]
    colors = np.tile(np.array(VOID, np.uint8), (count, 1))
    colors[order] = make_palette(len(order))
    for class_id, color in enumerate(descriptor.colors):
        if len(color) == 3:
            colors[class_id] = color
    _separate(colors, sorted(order))
    return colors


def _separate(colors_n3: npt.NDArray[np.uint8], order: Sequence[int]) -> None:
    """Replaces colors that one before them has, in place.

    Args:
        colors_n3: uint8 [N, 3].
        order: The rows to compare, the first of equal ones is kept.
    """
    seen: set[tuple[int, ...]] = set()
    repeated = []
    for row in order:
        color = tuple(colors_n3[row].tolist())
        if color in seen:
            repeated.append(row)
        seen.add(color)
    if not repeated:
        return
    others = [VOID, *seen]
    added = _add_colors([np.array(c, np.uint8) for c in others], len(repeated))
    colors_n3[repeated] = added


@functools.cache
def make_palette(size: int) -> npt.NDArray[np.uint8]:
    """Makes `size` colors: uint8 [size, 3], always the same ones.

    Each color is as far as possible from those before it, for normal sight
    and for both kinds of red-green blindness.
    """
    colors = [np.array(color, np.uint8) for color in _FIRST_COLORS[:size]]
    if len(colors) < size:
        colors += _add_colors(colors, size - len(colors))
    return np.array(colors, np.uint8).reshape(size, 3)


def _add_colors(
    colors: Sequence[npt.NDArray[np.uint8]], count: int
) -> list[npt.NDArray[np.uint8]]:
    """Returns `count` colors, each far from those given and those before it."""
    candidates = _make_candidates()
    views = _see_as_all(candidates)
    nearest = np.full(len(candidates), np.inf)
    for color in colors:
        nearest = np.minimum(nearest, _distances(views, color))
    added: list[npt.NDArray[np.uint8]] = []
    while len(added) < count:
        best = int(nearest.argmax())
        added.append(candidates[best])
        nearest = np.minimum(nearest, _distances(views, candidates[best]))
    return added


def shade_instances(
    colors_n3: npt.NDArray[np.uint8], numbers_n: npt.NDArray[np.int64]
) -> npt.NDArray[np.uint8]:
    """Varies colors by instance: uint8 [N, 3].

    The lightness moves by up to a sixth of its range and the hue by up to 13
    degrees, so that the class remains visible; consecutive numbers differ
    clearly.

    Args:
        colors_n3: uint8 [N, 3], colors of the classes.
        numbers_n: int64 [N], number of the instance in its class; 0 keeps the
            color.
    """
    if not len(colors_n3):
        return colors_n3
    lab = _to_lab(_to_linear(colors_n3))
    step = np.where(numbers_n > 0, (numbers_n * _GOLDEN_RATIO) % 1 - 0.5, 0.0)
    turn = np.where(numbers_n > 0, (numbers_n * 0.7549) % 1 - 0.5, 0.0)
    turn = turn * np.deg2rad(26.0)
    # Leaves room on both sides of colors that are very dark or light.
    middle = np.clip(lab[:, 0], 0.47, 0.80)
    lightness = middle + 0.34 * step
    a = lab[:, 1] * np.cos(turn) - lab[:, 2] * np.sin(turn)
    b = lab[:, 1] * np.sin(turn) + lab[:, 2] * np.cos(turn)
    shaded = _to_srgb(_to_rgb(np.stack([lightness, a, b], -1)))
    return np.asarray(np.where(numbers_n[:, None] > 0, shaded, colors_n3))


def _make_candidates() -> npt.NDArray[np.uint8]:
    """Lists colors that are neither gray nor close to black or white."""
    lightness, chroma, hue = np.meshgrid(
        np.linspace(0.40, 0.90, 9),
        [0.07, 0.11, 0.15, 0.20],
        np.linspace(0, 2 * np.pi, 48, endpoint=False),
        indexing="ij",
    )
    lab = np.stack(
        [lightness, chroma * np.cos(hue), chroma * np.sin(hue)], -1
    ).reshape(-1, 3)
    linear = _to_rgb(lab)
    return _to_srgb(linear[((linear >= 0) & (linear <= 1)).all(-1)])


def _see_as_all(colors_n3: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Returns OKLab [3, N, 3] for normal, protanope and deuteranope sight."""
    linear = _to_linear(colors_n3)
    seen = [linear @ matrix.T for matrix in _DICHROMATS]
    return np.stack([_to_lab(np.clip(v, 0, 1)) for v in (linear, *seen)])


def _distances(
    views_vn3: npt.NDArray[np.float64], color: npt.NDArray[np.uint8]
) -> npt.NDArray[np.float64]:
    """Returns the smallest distance of each color to one: float64 [N].

    All distances are smaller in red-green blindness, so these are scaled up;
    otherwise the colors would differ in lightness only.

    Args:
        views_vn3: float64 [3, N, 3], `_see_as_all` of the colors.
        color: uint8 [3], the one color.
    """
    color_v13 = _see_as_all(color[None])
    distances = np.linalg.norm(views_vn3 - color_v13, axis=-1)
    return np.asarray((distances * [[1.0], [1.4], [1.4]]).min(0))


def _to_linear(colors: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    value = colors.astype(np.float64) / 255
    bright = ((value + 0.055) / 1.055) ** 2.4
    return np.asarray(np.where(value <= 0.04045, value / 12.92, bright))


def _to_srgb(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.uint8]:
    linear = np.clip(linear, 0, 1)
    bright = 1.055 * linear ** (1 / 2.4) - 0.055
    value = np.where(linear <= 0.0031308, linear * 12.92, bright)
    return np.rint(value * 255).astype(np.uint8)


def _to_lab(linear: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(np.cbrt(linear @ _LINEAR_TO_LMS.T) @ _LMS_TO_LAB.T)


def _to_rgb(lab: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    lms = (lab @ np.linalg.inv(_LMS_TO_LAB).T) ** 3
    return np.asarray(lms @ np.linalg.inv(_LINEAR_TO_LMS).T)
