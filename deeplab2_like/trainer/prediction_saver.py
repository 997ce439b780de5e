# SPDX-License-Identifier: Apache-2.0
"""Saves pictures and label maps of the images of an evaluation."""

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import original_size, raw_predictions
from deeplab2_like.storage import any_files, whole_files
from deeplab2_like.trainer import summaries


class PredictionSaver:
    """A saver of pictures of the first images and of label maps of all.

    Pictures are written to TensorBoard and optionally to files that are named
    after their images: `NAME_comparison.png`, `sequence/FRAME_comparison.png`.
    """

    def __init__(
        self,
        descriptor: descriptor_lib.DatasetDescriptor,
        *,
        num_pictures: int = 0,
        picture_folder: str | None = None,
        raw_writer: raw_predictions.RawPredictionWriter | None = None,
        has_labels: bool = True,
    ):
        """Creates the saver; writes nothing yet.

        Args:
            descriptor: The data set.
            num_pictures: Number of images that are drawn.
            picture_folder: Folder of the files of pictures; None for no files.
            raw_writer: Writer of the label maps; None for no label maps.
            has_labels: Whether the images have a ground truth to draw.
        """
        self._descriptor = descriptor
        self._num_pictures = num_pictures
        self._picture_folder = picture_folder or None
        self._raw_writer = raw_writer
        self._has_labels = has_labels
        self._num_images = 0
        self._names: set[str] = set()

    def add(self, image: original_size.RestoredImage) -> None:
        """Saves the next image."""
        index = self._num_images
        if index < self._num_pictures:
            picture = summaries.make_picture(
                image, self._descriptor, has_label=self._has_labels
            )
            name = self._choose_name(image.name)
            summaries.write_summary(picture, name)
            if self._picture_folder is not None:
                self._write_picture(picture, self._picture_folder, name)
        if self._raw_writer is not None:
            self._raw_writer.write(image.name, image.semantic, image.panoptic)
        self._num_images += 1

    def describe(self) -> list[str]:
        """Returns sentences about what was written to which folder."""
        lines = []
        number = min(self._num_images, self._num_pictures)
        if self._picture_folder and number:
            lines.append(f"{number} pictures are in {self._picture_folder}")
        if self._raw_writer is not None and self._num_images:
            lines.append(
                f"The label maps of {self._num_images} images are in "
                f"{self._raw_writer.folder}"
            )
        return lines

    def _choose_name(self, image_name: str) -> str:
        """Returns a name for the picture of an image that no other one has."""
        folder = self._picture_folder or "the folder of the pictures"
        name = raw_predictions.choose_path(image_name, folder).as_posix()
        if name in self._names:
            name = f"{name}_{self._num_images:06d}"
        self._names.add(name)
        return name

    def _write_picture(
        self,
        picture_hw3: npt.NDArray[np.uint8],
        folder: str,
        name: str,
    ) -> None:
        kind = "comparison" if self._has_labels else "prediction"
        path = any_files.join(folder, f"{name}_{kind}.png")
        any_files.make_folder(path.rpartition("/")[0])
        with whole_files.open_whole(path) as file:
            picture = Image.fromarray(picture_hw3)
            picture.save(file, format="PNG", compress_level=3)
