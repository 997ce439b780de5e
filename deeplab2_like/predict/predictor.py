# SPDX-License-Identifier: Apache-2.0
"""Predicts images with an exported model.

    predictor = Predictor.from_saved_model("saved")
    result = predictor.predict("photo.jpg")

The methods are in `images.ImagePredictor`.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any, Self

import numpy as np

from deeplab2_like import errors
from deeplab2_like.exports import exported_model
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.predict.images import ImagePredictor
from deeplab2_like.storage import user_paths


class Predictor(ImagePredictor):
    """An exported model that predicts one image at a time.

    Threads may share a predictor. Pickled, it is the path of its folder: a
    process that unpickles it loads the model again.

    Attributes:
        info: Facts about the model.
    """

    def __init__(
        self,
        model: Any,
        info: exported_model.ExportInfo,
        descriptor: descriptor_lib.DatasetDescriptor,
        directory: str | os.PathLike[str] | None = None,
    ):
        """Wraps a SavedModel; see `from_saved_model`.

        Args:
            model: The loaded SavedModel.
            info: Facts about the model.
            descriptor: The data set of the model.
            directory: Folder of the SavedModel; None if it lies in none, so
                that the predictor cannot be pickled.
        """
        self.info = info
        self.descriptor = descriptor
        self.max_pixels = info.max_pixels
        # Another process may have another working directory.
        self._directory = os.path.abspath(directory) if directory else None
        self._model = model  # Its signatures do not keep it alive.
        self._signature = model.signatures["serving_default"]

    @classmethod
    def from_saved_model(cls, directory: str | os.PathLike[str]) -> Self:
        """Loads a folder that deeplab2-export wrote.

        Raises:
            ConfigError: TensorFlow would read the path as a pattern.
            ExportError: The folder is not an exported model, or is damaged.
        """
        directory = user_paths.expand_checkpoint(directory)
        return cls(*_load(directory), directory)

    def __reduce__(self) -> tuple[Callable[..., Self], tuple[str]]:
        if self._directory is None:
            raise errors.ExportError(
                "This predictor cannot be pickled, because its model was not "
                "loaded from a folder. Use Predictor.from_saved_model."
            )
        return type(self).from_saved_model, (self._directory,)

    def warm_up(self) -> None:
        """Runs the model once, so that the first image is as fast as others.

        Models whose canvas depends on the image are slower again on each new
        size.
        """
        height, width = self.info.canvas_size or (65, 65)
        self._run(np.zeros((height, width, 3), np.uint8))

    def _serve(self, images: Any) -> Mapping[str, Any]:
        return self._signature(images=images)


def _load(
    directory: str | os.PathLike[str],
) -> tuple[Any, exported_model.ExportInfo, descriptor_lib.DatasetDescriptor]:
    """Loads a SavedModel and its facts; see `Predictor.from_saved_model`."""
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
    return model, info, descriptor
