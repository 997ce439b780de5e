# SPDX-License-Identifier: Apache-2.0
"""Predicts images with an exported model.

    predictor = Predictor.from_saved_model("saved")
    result = predictor.predict("photo.jpg")

Importing this module does not import TensorFlow.
"""

import os
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.export import exported_model
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import panoptic_result
from deeplab2_like.storage import image_files

ImageLike = npt.NDArray[np.uint8] | Image.Image | str | os.PathLike[str]


class Predictor:
    """An exported model, for one image at a time.

    Attributes:
        info: Facts about the model.
        descriptor: The data set it was trained on: class names, colours, ids.
    """

    def __init__(
        self,
        model: Any,
        info: exported_model.ExportInfo,
        descriptor: descriptor_lib.DatasetDescriptor,
    ):
        """Takes a loaded SavedModel and what is known of it."""
        self.info = info
        self.descriptor = descriptor
        self._model = model  # Its signatures do not keep it alive.
        self._serve = model.signatures["serving_default"]

    @classmethod
    def from_saved_model(cls, directory: str | os.PathLike[str]) -> Self:
        """Loads a folder that deeplab2-export wrote.

        Raises:
            ExportError: It is none, or it is damaged.
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

    def predict(self, image: ImageLike) -> panoptic_result.PanopticResult:
        """Finds the segments of an image.

        Args:
            image: uint8 [H, W, 3], RGB; or a Pillow image; or the path of a
                file. Pictures of a camera are turned upright.

        Returns:
            The segments at the size of the image. A model without instances
            gives one segment a class.

        Raises:
            DataError: It is no image of an allowed size.
        """
        return self.to_result(self.predict_maps(image))

    def predict_maps(self, image: ImageLike) -> dict[str, npt.NDArray[Any]]:
        """Returns what the model itself says of an image.

        Args:
            image: As in `predict`, which also tells what is raised.

        Returns:
            The outputs that the model's README lists, without the axis of the
            batch: "semantic" int32 [H, W], "panoptic" int32 [H, W] (not of
            models without instances), and the table of the segments.
        """
        return dict(self._run(self.load_image(image)))

    def warm_up(self) -> None:
        """Runs the model once, so that the first image is as fast as others.

        Models whose canvas depends on the image are slower again on each new
        size.
        """
        height, width = self.info.canvas_size or (65, 65)
        self._run(np.zeros((height, width, 3), np.uint8))

    def load_image(self, image: ImageLike) -> npt.NDArray[np.uint8]:
        """Returns the pixels that `predict` sees: uint8 [H, W, 3]."""
        limit = self.info.max_pixels
        if isinstance(image, str | os.PathLike):
            return image_files.load_image(image, limit)
        if isinstance(image, Image.Image):
            image = image_files.from_pillow(image)
        pixels = np.asarray(image)
        if pixels.dtype != np.uint8 or pixels.shape[2:] != (3,):
            raise errors.DataError(
                f"The image has the dimensions {list(pixels.shape)} and the "
                f"type {pixels.dtype}. It must be uint8 [H, W, 3], RGB."
            )
        height, width = pixels.shape[:2]
        if not 0 < height * width <= limit:
            raise errors.DataError(
                f"The image has {width} x {height} pixels. This model takes 1 "
                f"to {limit} in all: reduce it, or export the model with a "
                "higher --max_pixels."
            )
        return pixels

    def _run(self, pixels: npt.NDArray[np.uint8]) -> Mapping[str, Any]:
        """Runs the model; gives the outputs of one image as arrays."""
        import tensorflow as tf

        from deeplab2_like.graph import checks

        try:
            outputs = self._serve(images=tf.constant(pixels[np.newaxis]))
        except tf.errors.ResourceExhaustedError as error:
            raise errors.DataError(
                f"The memory does not suffice for an image of "
                f"{pixels.shape[1]} x {pixels.shape[0]} pixels: reduce it."
            ) from error
        except tf.errors.InvalidArgumentError as error:
            sentence = checks.find_sentence(error, checks.REQUEST)
            if sentence is None:
                raise
            raise errors.DataError(sentence) from error
        return {name: value.numpy()[0] for name, value in outputs.items()}

    def to_result(
        self, outputs: Mapping[str, Any]
    ) -> panoptic_result.PanopticResult:
        """Returns the segments that `predict_maps` found."""
        panoptic = outputs.get("panoptic")
        if panoptic is None:
            panoptic = self._classes_as_segments(outputs)
        return panoptic_result.PanopticResult.from_prediction(
            panoptic,
            self.descriptor,
            segment_ids=outputs["segment_id"],
            segment_scores=outputs["segment_score"],
            is_valid=outputs["segment_is_valid"],
        )

    def _classes_as_segments(
        self, outputs: Mapping[str, Any]
    ) -> npt.NDArray[np.int32]:
        """Returns int32 [H, W], the ids of a model without instances."""
        ids = outputs["semantic"] * self.descriptor.label_divisor
        known = outputs["segment_id"][outputs["segment_is_valid"]]
        return np.where(np.isin(ids, known), ids, self.descriptor.void_id)
