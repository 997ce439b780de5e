# SPDX-License-Identifier: Apache-2.0
"""How a large image is cut into tiles, and how large its bands are."""

import dataclasses
from typing import Self

from deeplab2_like import errors
from deeplab2_like.config import sizes

AUTO = "auto"
DEFAULT_TILE = 1025


@dataclasses.dataclass(frozen=True)
class LargeOptions:
    """Options of `predict_large`.

    Attributes:
        tile: Side of the tiles in pixels, k * output stride + 1.
        overlap: Least number of pixels that neighboring tiles share; it is
            rounded up to a multiple of the output stride. None: measured, see
            `overlap.measure`.
        band_pixels: Pixels of the image that are post-processed at once, a
            row at least. It decides about memory, not about results.
    """

    tile: int = DEFAULT_TILE
    overlap: int | None = None
    band_pixels: int = 1 << 22

    def __post_init__(self) -> None:
        """Checks what needs no model.

        Raises:
            ConfigError: A value is not allowed.
        """
        if self.tile < 1:
            raise errors.ConfigError(
                f"--tile={self.tile} must be a side in pixels, such as "
                f"--tile={DEFAULT_TILE}."
            )
        if self.overlap is not None and not 0 <= self.overlap < self.tile:
            raise errors.ConfigError(
                f"--overlap={self.overlap} must be {AUTO}, or 0 or more pixels "
                f"and less than --tile={self.tile}."
            )

    @classmethod
    def parse(cls, tile: int, overlap: str) -> Self:
        """Reads the values of the flags --tile and --overlap.

        Raises:
            ConfigError: A value is not allowed.
        """
        if overlap == AUTO:
            return cls(tile)
        if not (overlap.isascii() and overlap.isdigit()):
            raise errors.ConfigError(
                f"--overlap={overlap} must be {AUTO}, or a number of pixels "
                "such as 256."
            )
        return cls(tile, int(overlap))

    def check_stride(self, output_stride: int, remainder: int = 1) -> None:
        """Checks the tile for a model.

        Args:
            output_stride: Output stride of the model.
            remainder: `Preprocessing.canvas_remainder`, 1 or 0.

        Raises:
            ConfigError: The model takes no images of this size.
        """
        if sizes.is_legal_canvas(self.tile, output_stride, remainder):
            return
        near = sizes.nearest_legal_canvases(self.tile, output_stride, remainder)
        raise errors.ConfigError(
            f"--tile={self.tile} does not fit the model, whose tiles must be "
            f"{sizes.describe_legal(output_stride, remainder)} pixels "
            f"(output_stride {output_stride}): take "
            f"{' or '.join(map(str, near))}."
        )
