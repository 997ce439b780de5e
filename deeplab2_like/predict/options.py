# SPDX-License-Identifier: Apache-2.0
"""The options of a prediction that decide about its results."""

import dataclasses
import math
from typing import Any

from deeplab2_like import errors
from deeplab2_like.large_images import outputs as large_outputs
from deeplab2_like.large_images.options import AUTO, LargeOptions
from deeplab2_like.rasters import channels as channels_lib
from deeplab2_like.tracking import options as link_options

# Options that decide about nothing without the first of them.
_LINK_NAMES = (
    "link",
    "max_gap",
    "link_min_iou",
    "link_motion",
    "consensus",
    "consensus_iou",
)
_TILE_NAMES = ("tile", "overlap", "large_outputs", "channels")


@dataclasses.dataclass(frozen=True)
class PredictOptions:
    """Options that decide about the results of `predict_files`.

    Attributes:
        raw_panoptic_format: Format of label maps that are also written, to
            `raw_semantic` and `raw_panoptic`, a key of
            `raw_predictions.MAX_INSTANCE`; none when None.
        convert_raw_to_eval_ids: Whether the label maps have the data set's own
            category ids.
        exif: "apply" turns image files upright as their EXIF orientation says,
            "ignore" takes the pixels as stored, for data sets whose labels
            were drawn so. Pixels of records are always taken as stored.
        frame_step: Frames of videos whose number, from 0, is a multiple of it
            are predicted.
        start_seconds: Seconds of a video before which no frame is predicted.
        end_seconds: Seconds from which on none is predicted; None: the end.
        frame_results: Whether frames of videos are also results of their own,
            with a PNG and an entry in the JSON file.
        link: Whether segments of frames get the id of their object: frames of
            a video, and the images of a folder in the order of their names.
            Frames of videos are results of their own then.
        max_gap: With `link`, see `tracking.options.LinkOptions`.
        link_min_iou: With `link`, `min_iou` there.
        link_motion: With `link`, `uses_motion` there.
        consensus: With `link`, whether the slices of stacks are predicted in
            three directions, whose segments vote (`tracking.consensus`).
        consensus_iou: With `consensus`, least IoU of objects of two directions
            that are joined.
        value_range: (low, high), values of stacks and large images that become
            0 and 255; None: those of 8 bits as they are, others from their
            least to their largest value.
        tile: Side of the tiles in pixels in which images of any size are
            predicted (`large_images`); None: each image at once.
        overlap: With `tile`, "auto" or a number of pixels; see
            `large_images.options.LargeOptions`.
        large_outputs: With `tile`, what is written, of `outputs.KINDS`.
        channels: With `tile`, numbers of the channels, from 1, that are red,
            green and blue; None: see `rasters.channels.choose`.
    """

    raw_panoptic_format: str | None = None
    convert_raw_to_eval_ids: bool = True
    exif: str = "apply"
    frame_step: int = 1
    start_seconds: float = 0.0
    end_seconds: float | None = None
    frame_results: bool = False
    link: bool = False
    max_gap: int = link_options.LinkOptions.max_gap
    link_min_iou: float = link_options.LinkOptions.min_iou
    link_motion: bool = link_options.LinkOptions.uses_motion
    consensus: bool = False
    consensus_iou: float = 0.5
    value_range: tuple[float, float] | None = None
    tile: int | None = None
    overlap: str = AUTO
    large_outputs: tuple[str, ...] = large_outputs.DEFAULT_KINDS
    channels: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        """Checks what depends on each other.

        Raises:
            ConfigError: A value is not allowed.
        """
        if self.frame_step < 1:
            raise errors.ConfigError(
                f"--frame_step={self.frame_step} must be 1 or more."
            )
        end = self.end_seconds
        if self.start_seconds < 0 or (
            end is not None and end <= self.start_seconds
        ):
            raise errors.ConfigError(
                f"--start_seconds={self.start_seconds} and --end_seconds={end} "
                "select nothing. Give 0 <= start < end."
            )
        _ = self.link_rules
        if self.consensus and not self.link:
            raise errors.ConfigError(
                "--consensus joins linked slices. Give --link too."
            )
        if not 0 < self.consensus_iou <= 1:
            raise errors.ConfigError(
                f"--consensus_iou={self.consensus_iou} must be above 0 and at "
                "most 1."
            )
        if self.tile is not None:
            self._check_tiles()
        low, high = self.value_range or (0.0, 1.0)
        if not -math.inf < low < high < math.inf:
            raise errors.ConfigError(
                f"--value_range={low:g},{high:g} must be two numbers, the "
                "lower one first."
            )

    def _check_tiles(self) -> None:
        """Checks what decides about images in tiles."""
        _ = self.tile_options
        large_outputs.check_kinds(self.large_outputs)
        channels_lib.check(self.channels)
        if self.link:
            raise errors.ConfigError(
                "--tile predicts single images and --link sequences of them. "
                "Leave out one of them."
            )
        if self.raw_panoptic_format is not None:
            raise errors.ConfigError(
                "--raw_panoptic_format is not written of images in tiles; "
                "--large_outputs says what is. Leave out one of them."
            )

    @property
    def tile_options(self) -> LargeOptions:
        """How images are cut into tiles; the defaults without `tile`."""
        if self.tile is None:
            return LargeOptions()
        return LargeOptions.parse(self.tile, self.overlap)

    @property
    def link_rules(self) -> link_options.LinkOptions:
        """The rules by which segments are linked."""
        return link_options.LinkOptions(
            max_gap=self.max_gap,
            min_iou=self.link_min_iou,
            uses_motion=self.link_motion,
        )

    def as_header(self) -> dict[str, Any]:
        """Returns the options that decide about the results, by name."""
        values = dataclasses.asdict(self)
        is_tiled = self.tile is not None
        unused = [
            *(() if self.link else _LINK_NAMES),
            *(() if is_tiled else _TILE_NAMES),
            *(() if self.link or is_tiled else ("value_range",)),
        ]
        for name in unused:
            del values[name]
        return values
