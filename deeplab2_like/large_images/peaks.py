# SPDX-License-Identifier: Apache-2.0
"""The instance centers of a large image: the peaks of its center heatmap.

As `postprocess.pixels.centers.find_centers` on the whole heatmap, band by band
with as many rows around each as the window of a peak reaches. In memory are
the best K of the peaks so far, and those of a band.
"""

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.console import progress
from deeplab2_like.large_images import bands as bands_lib
from deeplab2_like.large_images import blending, validity
from deeplab2_like.postprocess.options import CenterRules

HEATMAP = "center_heatmap"


@dataclasses.dataclass(frozen=True)
class Centers:
    """The K centers of an image, in raster order.

    Attributes:
        y: int32 [K], row in pixels.
        x: int32 [K], column in pixels.
        score: float32 [K], value of the heatmap.
    """

    y: npt.NDArray[np.int32]
    x: npt.NDArray[np.int32]
    score: npt.NDArray[np.float32]

    def __len__(self) -> int:
        """Returns K."""
        return len(self.score)

    def as_dict(self) -> dict[str, npt.NDArray[Any]]:
        """Returns the arrays by name."""
        return dataclasses.asdict(self)


def scale_limit(limit: int, size: tuple[int, int], tile: int) -> int:
    """Returns the most centers of an image.

    A config allows a number of centers in an image. A network sees a tile as
    an image, so the number is that times the area of the image in tiles,
    rounded up.

    Args:
        limit: The most centers of an image by the config.
        size: (height, width) of the image.
        tile: Side of a tile.
    """
    return limit * max(1, -(-size[0] * size[1] // tile**2))


def find_centers(
    maps: blending.HeadMaps,
    bands: bands_lib.Bands,
    valid: validity.ValidPixels,
    rules: CenterRules,
    limit: int,
    report: progress.Progress,
) -> Centers:
    """Finds the best peaks of the heatmap of the whole image.

    Args:
        maps: The head outputs.
        bands: Bands of the image.
        valid: Which pixels count; the heatmap is 0 in others.
        rules: Which pixels are centers, but for their number.
        limit: K, the most centers.
        report: Display of the progress.
    """
    found = Centers(
        np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32)
    )
    with report.phase("Finding centers", len(bands), unit="bands") as phase:
        for band in bands:
            peaks = _find_in_band(maps, band, valid, rules)
            found = _keep_best(_join(found, peaks), limit)
            phase.advance(band.index + 1)
    return found


def _find_in_band(
    maps: blending.HeadMaps,
    band: bands_lib.Band,
    valid: validity.ValidPixels,
    rules: CenterRules,
) -> Centers:
    kernel = rules.nms_kernel
    # Rows that the windows of the first and of the last row reach.
    top = max(band.top - (kernel - 1) // 2, 0)
    bottom = min(band.bottom + kernel // 2, (maps.height - 1) * maps.stride + 1)
    rows = bands_lib.Rows(maps, top, bottom)
    heatmap = bands_lib.upsample_heatmap(rows.read(maps, HEATMAP), rows.size)
    heatmap = heatmap[rows.skipped : rows.skipped + bottom - top]
    is_valid = valid.mask(top, bottom, heatmap.shape[1])
    heatmap = np.where(is_valid, heatmap, np.float32(0))
    peaks = bands_lib.suppress(heatmap, rules.center_threshold, kernel)
    peaks = peaks[band.top - top : band.bottom - top]
    y, x = np.nonzero(peaks > 0)
    return Centers(
        (y + band.top).astype(np.int32), x.astype(np.int32), peaks[y, x]
    )


def _join(some: Centers, others: Centers) -> Centers:
    """Joins centers with those of the rows below them."""
    return Centers(
        np.concatenate([some.y, others.y]),
        np.concatenate([some.x, others.x]),
        np.concatenate([some.score, others.score]),
    )


def _keep_best(found: Centers, limit: int) -> Centers:
    """Keeps the highest, equal ones by the lower raster index."""
    if len(found) <= limit:
        return found
    best = np.argsort(-found.score, kind="stable")[:limit]
    best.sort()
    return Centers(found.y[best], found.x[best], found.score[best])
