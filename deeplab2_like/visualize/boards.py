# SPDX-License-Identifier: Apache-2.0
"""Joins pictures to one."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from deeplab2_like.visualize import legend as legend_lib


def arrange(
    panels: Sequence[tuple[str, Image.Image]],
    entries: Sequence[legend_lib.LegendEntry],
    font_size: int,
) -> Image.Image:
    """Arranges titled pictures of one size in rows of two, with a legend.

    Args:
        panels: Title and picture of each.
        entries: The lines of the legend.
        font_size: In pixels.
    """
    titled = [
        join(
            [legend_lib.make_title(title, picture.width, font_size), picture], 0
        )
        for title, picture in panels
    ]
    gap = max(2, font_size // 3)
    rows = [join(titled[i : i + 2], 1, gap) for i in range(0, len(titled), 2)]
    board = join(rows, 0, gap)
    legend = legend_lib.make_legend(entries, board.height, font_size)
    return join([board, legend])


def join(
    pictures: Sequence[Image.Image], axis: int = 1, gap: int = 0
) -> Image.Image:
    """Joins pictures from top to bottom (0) or from left to right (1)."""
    sizes = np.array([(p.height, p.width) for p in pictures])
    total = sizes.max(0)
    total[axis] = sizes[:, axis].sum() + gap * (len(pictures) - 1)
    board = Image.new("RGB", (int(total[1]), int(total[0])), (255, 255, 255))
    place = 0
    for picture, picture_size in zip(pictures, sizes, strict=True):
        board.paste(picture, (place, 0) if axis else (0, place))
        place += int(picture_size[axis]) + gap
    return board
