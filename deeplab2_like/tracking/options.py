# SPDX-License-Identifier: Apache-2.0
"""The rules by which segments are linked."""

import dataclasses
import math

from deeplab2_like import errors


@dataclasses.dataclass(frozen=True)
class LinkOptions:
    """The rules of `linking.Linker`.

    Attributes:
        max_gap: Most consecutive frames from which an object may be missing
            and keep its id, 0 or more.
        min_iou: Least IoU of a segment with the last one of its track, above 0
            and at most 1.
        uses_motion: Whether masks are also compared where the motion of their
            track puts them, and by their shape at a distance.
        min_shape_iou: With `uses_motion`, the least IoU of two masks whose
            centroids are laid upon each other, above 0 and at most 1.
        min_cover: Least part of the smaller of two masks that both share,
            above 0 and at most 1, where no other rule links them.
    """

    max_gap: int = 2
    min_iou: float = 0.2
    uses_motion: bool = True
    min_shape_iou: float = 0.5
    min_cover: float = 0.75

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigError: A value is not allowed.
        """
        if self.max_gap < 0:
            raise errors.ConfigError(
                f"--max_gap={self.max_gap} must be 0 or more frames."
            )
        for name in ("min_iou", "min_shape_iou", "min_cover"):
            value = getattr(self, name)
            if not (math.isfinite(value) and 0 < value <= 1):
                raise errors.ConfigError(
                    f"{name} is {value}. It must be above 0 and at most 1."
                )
