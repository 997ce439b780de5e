# SPDX-License-Identifier: Apache-2.0
"""The base of exported and live models that predict one image at a time."""

import abc
import os
import pathlib
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.result import LargeResult
from deeplab2_like.large_images.source import LargeImage
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import image_decoding, image_files

if TYPE_CHECKING:
    from deeplab2_like.large_images.network import TileModel
    from deeplab2_like.large_images.parts import Part

ImageLike = npt.NDArray[np.uint8] | Image.Image | str | os.PathLike[str]


class ImagePredictor(abc.ABC):
    """A model that predicts one image of any size at a time.

    Attributes:
        descriptor: The data set of the model: class names, colors, ids.
        max_pixels: Most pixels of an image.
    """

    descriptor: DatasetDescriptor
    max_pixels: int

    @abc.abstractmethod
    def _serve(self, images: Any) -> Mapping[str, Any]:
        """Runs the model.

        Args:
            images: uint8 [1, H, W, 3], a tensor.

        Returns:
            The outputs of `inference.any_size.make_predict`.
        """

    def predict(self, image: ImageLike) -> PanopticResult:
        """Predicts the segments of an image.

        Args:
            image: uint8 [H, W, 3], RGB; or a Pillow image; or the path of a
                file. EXIF orientations are applied; docs/data.md lists what
                files are read.

        Returns:
            The segments at the size of the image. A model without instances
            has one segment a class.

        Raises:
            DataError: The image cannot be read or has a size that is not
                allowed.
        """
        return self.to_result(self.predict_maps(image))

    def predict_maps(self, image: ImageLike) -> dict[str, npt.NDArray[Any]]:
        """Predicts the maps and the table of segments of an image.

        Args:
            image: See `predict`, also for errors.

        Returns:
            "semantic": int32 [H, W], class of each pixel. "panoptic": int32
            [H, W], class * label_divisor + instance (not of models without
            instances). The table of S segments: "segment_id" int32 [S] as in
            "panoptic", "segment_category" int32 [S], "segment_score" float32
            [S], 0 or more, "segment_area" int32 [S] in pixels,
            "segment_is_valid" bool [S], which rows are segments.
        """
        return dict(self._run(self.load_image(image)))

    @abc.abstractmethod
    def tile_model(self) -> "TileModel":
        """Returns the network alone, for parts of large images.

        Raises:
            ExportError: It was not exported.
        """

    def predict_large(
        self,
        image: LargeImage,
        options: LargeOptions | None = None,
        *,
        work_folder: str | os.PathLike[str] | None = None,
        parts: Sequence[pathlib.Path] = (),
        report: progress.Progress | None = None,
    ) -> LargeResult:
        """Predicts the segments of an image that may be larger than memory.

        Args:
            image: The image, of any size; `max_pixels` is no limit.
            options: Tiles and their overlap; the defaults when None.
            work_folder: Folder of the work files, from which the same call
                goes on after a kill. The result reads them;
                `large_images.work_folder.clear` deletes them. When None, a
                temporary folder, which is deleted with the result.
            parts: Folders in which `predict_large_part` was done; they are
                deleted.
            report: Display of the progress; on standard error when None.

        Raises:
            ExportError: The model was exported without --tile_function.
            ConfigError: The tiles do not fit the model.
            DataError: The image cannot be read, or `work_folder` holds other
                files.
        """
        from deeplab2_like.large_images import predicting

        temporary = None
        if work_folder is None:
            temporary = tempfile.TemporaryDirectory(prefix="large_image_")
            work_folder = temporary.name
        return predicting.predict_large(
            self.tile_model(),
            image,
            options or LargeOptions(),
            work_folder,
            report or progress.Progress(),
            parts=parts,
            owner=temporary,
        )

    def predict_large_part(
        self,
        image: LargeImage,
        part: "Part",
        work_folder: str | os.PathLike[str],
        options: LargeOptions | None = None,
        *,
        report: progress.Progress | None = None,
    ) -> None:
        """Runs the network on a part of the tiles of an image.

        Several programs do so at once; then one of them, or another one, calls
        `predict_large` with the folders of all parts.

        Args:
            image: The image.
            part: Which tiles, for example `Part(1, 4)`.
            work_folder: Folder of the work files of this part, from which the
                same call goes on after a kill.
            options: See `predict_large`, also for errors.
            report: Display of the progress; on standard error when None.
        """
        from deeplab2_like.large_images import predicting

        predicting.predict_part(
            self.tile_model(),
            image,
            options or LargeOptions(),
            work_folder,
            part,
            report or progress.Progress(),
        )

    def load_image(
        self,
        image: ImageLike,
        *,
        upright: bool = True,
        warn: Callable[[str], None] = warnings.warn,
    ) -> npt.NDArray[np.uint8]:
        """Returns the pixels that `predict` takes: uint8 [H, W, 3], RGB.

        Args:
            image: See `predict`, also for errors.
            upright: Whether the EXIF orientation of a file is applied.
            warn: See `image_files.load_image`.
        """
        limit = self.max_pixels
        if isinstance(image, str | os.PathLike):
            return image_files.load_image(
                image, limit, upright=upright, warn=warn
            )
        if isinstance(image, Image.Image):
            image = image_decoding.from_pillow(image)
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
                f"to {limit} in all: reduce it, predict it in tiles "
                "(predict_large), or export the model with a higher "
                "--max_pixels."
            )
        return pixels

    def _run(self, pixels: npt.NDArray[np.uint8]) -> Mapping[str, Any]:
        """Runs the model; returns the outputs of one image as arrays."""
        import tensorflow as tf

        from deeplab2_like.graph import checks

        try:
            outputs = self._serve(tf.constant(pixels[np.newaxis]))
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

    def to_result(self, outputs: Mapping[str, Any]) -> PanopticResult:
        """Returns the segments in the result of `predict_maps`."""
        panoptic = outputs.get("panoptic")
        if panoptic is None:
            panoptic = self._classes_as_segments(outputs)
        return PanopticResult.from_prediction(
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
