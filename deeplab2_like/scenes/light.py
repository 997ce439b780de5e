# SPDX-License-Identifier: Apache-2.0
"""The colors of the scenes: paints, leaves, and the light on them."""

import dataclasses
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from deeplab2_like.scenes.drawing import Color, Dice, color

T = TypeVar("T", float, np.ndarray)

BLACK = color(0.09, 0.09, 0.10)
WHITE = color(0.95, 0.95, 0.93)
# Houses, cars, clothes and signs share these paints.
PAINTS = (
    color(0.70, 0.30, 0.25),
    color(0.80, 0.47, 0.33),
    color(0.87, 0.68, 0.36),
    color(0.56, 0.66, 0.48),
    color(0.30, 0.54, 0.56),
    color(0.35, 0.45, 0.62),
    color(0.62, 0.74, 0.84),
    color(0.66, 0.58, 0.72),
    color(0.28, 0.29, 0.32),
    color(0.55, 0.55, 0.56),
    color(0.92, 0.92, 0.91),
    color(0.48, 0.36, 0.28),
)
HOUSE_PAINTS = (
    color(0.92, 0.86, 0.70),
    color(0.88, 0.72, 0.52),
    color(0.84, 0.62, 0.58),
    color(0.74, 0.50, 0.40),
    color(0.76, 0.78, 0.72),
    color(0.72, 0.66, 0.74),
)
CAR_PAINTS = (
    color(0.74, 0.12, 0.12),
    color(0.12, 0.26, 0.52),
    color(0.10, 0.40, 0.44),
    color(0.93, 0.76, 0.22),
    color(0.80, 0.82, 0.85),
    color(0.16, 0.17, 0.20),
)
SIGN_PAINTS = (
    color(0.85, 0.10, 0.12),
    color(0.10, 0.32, 0.78),
    color(0.97, 0.80, 0.10),
    color(0.06, 0.50, 0.30),
)
LEAVES = (
    color(0.52, 0.64, 0.20),
    color(0.42, 0.60, 0.22),
    color(0.60, 0.62, 0.24),
    color(0.82, 0.56, 0.16),
    color(0.74, 0.36, 0.16),
)
HEDGES = (
    color(0.22, 0.40, 0.22),
    color(0.28, 0.44, 0.24),
    color(0.34, 0.48, 0.26),
    color(0.30, 0.38, 0.20),
)
# Colors of the upper and of the lower sky; the latter is that of distant air.
_SKIES = {
    "clear": (color(0.36, 0.58, 0.86), color(0.76, 0.87, 0.95)),
    "cloudy": (color(0.62, 0.66, 0.71), color(0.80, 0.81, 0.82)),
    "gray": (color(0.52, 0.54, 0.57), color(0.63, 0.64, 0.65)),
    "sunset": (color(0.48, 0.46, 0.66), color(0.97, 0.72, 0.52)),
    "dusk": (color(0.22, 0.26, 0.44), color(0.58, 0.50, 0.58)),
    "morning": (color(0.66, 0.78, 0.86), color(0.95, 0.88, 0.76)),
}


def pick_paint(dice: Dice, own: Sequence[Color], part: float) -> Color:
    """Draws a paint.

    Args:
        dice: Source of the random values.
        own: Paints that only this kind of object has.
        part: Probability of one of `own` instead of `PAINTS`.
    """
    paint = dice.pick(own) if dice.chance(part) else dice.pick(PAINTS)
    return paint * dice.uniform(0.85, 1.08)


@dataclasses.dataclass(frozen=True)
class Light:
    """Weather and time of day of a scene.

    Attributes:
        sun: 1.0 if the sun is on the right, -1.0 if on the left.
        shadow: Darkness of shadows, 0 (none) to 1 (black).
        sky_top: Color of the upper sky.
        sky_low: Color of the sky at the horizon.
        clouds: Part of the sky that is cloud, 0..1.
        haze: Ratio of hidden to visible color at a distance of 100 m.
        lit: Part of the windows with light in them, 0..1.
        exposure: Factor on all light.
        cast: float32 [3], factor on each channel, the camera's tint.
    """

    sun: float
    shadow: float
    sky_top: Color
    sky_low: Color
    clouds: float
    haze: float
    lit: float
    exposure: float
    cast: Color

    def hidden(self, scale: T, focal: float) -> T:
        """Returns the part of the color that haze hides.

        Args:
            scale: Pixels of a meter at the object.
            focal: Pixels of a meter at a distance of one meter.
        """
        distance = focal / scale
        return 1.0 - 1.0 / (1.0 + distance * (self.haze / 100.0))


def make_light(dice: Dice) -> Light:
    """Draws the weather and time of day."""
    name = dice.pick(tuple(_SKIES))
    top, low = _SKIES[name]
    gloomy = name in ("cloudy", "gray")
    dim = name in ("dusk", "gray")
    return Light(
        sun=dice.sign(),
        shadow=dice.uniform(0.05, 0.15) if gloomy else dice.uniform(0.25, 0.5),
        sky_top=top * dice.uniform(0.85, 1.1),
        sky_low=low * dice.uniform(0.85, 1.05),
        clouds=dice.uniform(0.4, 0.8) if gloomy else dice.uniform(0.0, 0.6),
        haze=dice.uniform(0.2, 0.6) * (3.0 if dice.chance(0.15) else 1.0),
        lit=dice.uniform(0.2, 0.5) if dim else dice.uniform(0.0, 0.1),
        exposure=dice.uniform(0.82, 0.95) if dim else dice.uniform(0.92, 1.06),
        cast=color(*(dice.uniform(0.95, 1.04) for _ in range(3))),
    )
