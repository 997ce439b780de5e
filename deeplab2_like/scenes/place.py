# SPDX-License-Identifier: Apache-2.0
"""The place of a thing in a scene, and the light on it."""

import dataclasses

from deeplab2_like.scenes.drawing import Camera, Point, Sprite, ramp
from deeplab2_like.scenes.light import Light


@dataclasses.dataclass(frozen=True)
class Place:
    """The place of a thing.

    Attributes:
        camera: The camera of the scene.
        light: The weather.
        column: Column of its foot, pixels.
        scale: Pixels of a meter at its foot.
    """

    camera: Camera
    light: Light
    column: float
    scale: float

    def open(
        self, left: float, right: float, top: float, bottom: float = -0.2
    ) -> Sprite:
        """Returns an empty sprite of these extents from its foot, in meters."""
        return Sprite(
            self.camera,
            column=self.column,
            scale=self.scale,
            reach=(left, right),
            top=top,
            bottom=bottom,
        )

    def behind(self, point: Point, depth: float) -> Point:
        """Returns (u, v) at which a point `depth` meters further appears."""
        far = self.camera.focal / self.scale
        shrink = far / (far + depth)
        u = (self.camera.vanish - self.column) / self.scale
        v = self.camera.eye
        return u + (point[0] - u) * shrink, v + (point[1] - v) * shrink


def finish(sprite: Sprite, place: Place, width: float, top: float) -> Sprite:
    """Adds light from the side of the sun, shade below, and haze.

    Args:
        sprite: The drawn thing, which is changed.
        place: Its place.
        width: Half its width, meters.
        top: Its height, meters.

    Returns:
        `sprite`.
    """
    light = place.light
    side = ramp(sprite.u * (light.sun / (2 * width)) + 0.5)
    upper = ramp(sprite.v / top)
    strength = 0.15 + 0.5 * light.shadow
    sprite.shade((1.0 - strength) + strength * (0.7 * side + 0.5 * upper))
    sprite.outline(0.6, max(1, round(place.camera.height / 160)))
    hidden = light.hidden(place.scale, place.camera.focal)
    sprite.fade(light.sky_low, float(hidden))
    return sprite
