# SPDX-License-Identifier: Apache-2.0
"""The network on tiles, and the file that each tile's outputs become."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.inference import canvas
from deeplab2_like.large_images import grouping, peaks
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.source import Box, LargeImage, Window
from deeplab2_like.meta_architectures import contract

Maps = dict[str, npt.NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class TileModel:
    """A live or exported model, as large images need it.

    Attributes:
        system: The system, whose rules make segments of outputs.
        preprocessing: Options of preprocessing; of sizes only
            `input_scale_factor` is used.
        infer: Function of canvases, float32 [1, H, W, 3] in 0..255, that
            returns the outputs of `system.infer`.
        fingerprint: Differs where the weights or the rules differ.
    """

    system: contract.MetaArchitecture
    preprocessing: Preprocessing
    infer: Callable[[tf.Tensor], Mapping[str, tf.Tensor]]
    fingerprint: str


class TileNetwork:
    """The network of a model on tiles of one size.

    Attributes:
        tile: Side of the tiles in pixels.
        stride: Output stride of the model.
        remainder: `Preprocessing.canvas_remainder`.
    """

    def __init__(self, model: TileModel, options: LargeOptions):
        """Checks that the model takes tiles.

        Args:
            model: The model.
            options: Size of the tiles.

        Raises:
            ConfigError: It does not take such tiles.
        """
        preprocessing = model.preprocessing
        self.tile = options.tile
        self.stride = model.system.output_stride
        self.remainder = preprocessing.canvas_remainder
        options.check_stride(self.stride, self.remainder)
        self._infer = model.infer
        # Tiles are predicted at the size that they have; see `scaled`.
        self._preprocessing = dataclasses.replace(
            preprocessing,
            crop_size=(self.tile, self.tile),
            min_resize=None,
            max_resize=None,
            resize_factor=None,
            pad_to_multiple_of=0,
            input_scale_factor=1.0,
        )

    def infer(self, image_hw3: npt.NDArray[np.uint8]) -> dict[str, tf.Tensor]:
        """Runs the network on a part of an image.

        Args:
            image_hw3: uint8 [H, W, 3], at most as large as a tile; it is
                padded at the bottom and on the right as in evaluation.

        Returns:
            The outputs of the tile, [1, ...] each.

        Raises:
            DataError: The memory does not suffice.
        """
        canvas_bhw3, _ = canvas.place_images(
            tf.constant(image_hw3[np.newaxis]), self._preprocessing
        )
        try:
            return dict(self._infer(canvas_bhw3))
        except tf.errors.ResourceExhaustedError as error:
            raise errors.DataError(
                f"The memory does not suffice for --tile={self.tile}: give a "
                "smaller one."
            ) from error

    def infer_maps(self, image_hw3: npt.NDArray[np.uint8]) -> Maps:
        """Runs a network whose outputs are maps.

        Args:
            image_hw3: See `infer`, also for errors.

        Returns:
            float32 [h, w, channels] each, those that post-processing reads.
        """
        outputs = self.infer(image_hw3)
        # Probabilities are there instead of logits, or besides.
        scores = next(n for n in reversed(grouping.SCORES) if n in outputs)
        return {
            name: outputs[name].numpy()[0]
            for name in (peaks.HEATMAP, grouping.OFFSETS, scores)
            if name in outputs
        }


def read_tile(image: LargeImage, box: Box) -> Window:
    """Reads the part of an image that a tile shows, and checks it.

    Raises:
        DataError: The reader returned something else.
    """
    window = image.read(*box)
    shape = (box.bottom - box.top, box.right - box.left, 3)
    if window.image.shape != shape or window.image.dtype != np.uint8:
        raise errors.DataError(
            f"The part {list(box)} of {image.path} was read as "
            f"{list(window.image.shape)} of {window.image.dtype}, not as uint8 "
            f"{list(shape)}."
        )
    return window
