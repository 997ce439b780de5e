# SPDX-License-Identifier: Apache-2.0
"""Predicts images with an exported model.

    predictor = Predictor.from_saved_model("saved")
    result = predictor.predict("photo.jpg")

The methods are in `images.ImagePredictor`.
"""

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from deeplab2_like import errors
from deeplab2_like.exports import exported_model
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.predict.images import ImagePredictor


class Predictor(ImagePredictor):
    """An exported model that predicts one image at a time.

    Attributes:
        info: Facts about the model.
    """

    def __init__(
        self,
        model: Any,
        info: exported_model.ExportInfo,
        descriptor: descriptor_lib.DatasetDescriptor,
    ):
        """Wraps a SavedModel; see `from_saved_model`.

        Args:
            model: The loaded SavedModel.
            info: Facts about the model.
            descriptor: The data set of the model.
        """
        self.info = info
        self.descriptor = descriptor
        self.max_pixels = info.max_pixels
        self._model = model  # Its signatures do not keep it alive.
        self._signature = model.signatures["serving_default"]

    @classmethod
    def from_saved_model(cls, directory: str | os.PathLike[str]) -> Self:
        """Loads a folder that deeplab2-export wrote.

        Raises:
            ExportError: The folder is not an exported model, or is damaged.
        """
        info = exported_model.load_info(directory)
        descriptor = exported_model.load_descriptor(directory)
        import tensorflow as tf

        try:
            model = tf.saved_model.load(os.fspath(directory))
        except (tf.errors.OpError, OSError, ValueError, IndexError) as error:
            reason = str(error).splitlines()[0][:200]
            raise errors.ExportError(
                f"The SavedModel {directory} cannot be loaded ({reason}). Copy "
                "or export it again."
            ) from error
        return cls(model, info, descriptor)

    def warm_up(self) -> None:
        """Runs the model once, so that the first image is as fast as others.

        Models whose canvas depends on the image are slower again on each new
        size.
        """
        height, width = self.info.canvas_size or (65, 65)
        self._run(np.zeros((height, width, 3), np.uint8))

    def _serve(self, images: Any) -> Mapping[str, Any]:
        return self._signature(images=images)
