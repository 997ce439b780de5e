# SPDX-License-Identifier: Apache-2.0
"""Parts of a large image that cannot be decoded."""

from collections.abc import Iterable, Sequence

from deeplab2_like.large_images import scaled
from deeplab2_like.large_images.source import Box, LargeImage

_MAX_NAMED = 20


def unite(boxes: Iterable[Box]) -> list[Box]:
    """Returns the parts that are in no other one, from top to bottom.

    Args:
        boxes: What tiles say is damaged: each of what it shows.
    """
    kept: list[Box] = []
    for box in sorted(set(boxes), key=lambda b: (b.top, b.left, -b.right)):
        if not any(_contains(other, box) for other in kept[-_MAX_NAMED:]):
            kept.append(box)
    return kept


def _contains(box: Box, other: Box) -> bool:
    starts = box.top <= other.top and box.left <= other.left
    return starts and box.bottom >= other.bottom and box.right >= other.right


def describe(image: LargeImage, damaged: Sequence[Box]) -> tuple[str, ...]:
    """Returns a sentence for each damaged part, and one for the others.

    Args:
        image: The image.
        damaged: Result of `unite`.
    """
    if isinstance(image, scaled.ScaledImage):
        damaged = [image.locate(box) for box in damaged]
    sentences = [
        f"{image.path}: rows {box.top} to {box.bottom - 1}, columns {box.left} "
        f"to {box.right - 1} cannot be decoded and are left void."
        for box in damaged[:_MAX_NAMED]
    ]
    if len(damaged) > _MAX_NAMED:
        sentences.append(
            f"{image.path}: {len(damaged) - _MAX_NAMED} more parts cannot be "
            "decoded and are left void."
        )
    return tuple(sentences)
