# SPDX-License-Identifier: Apache-2.0
"""Writes and reads label maps of predictions in the formats of deeplab2.

For an image `a/b`, `raw_semantic/a/b.png` (gray) contains the class of each
pixel, `raw_panoptic/a/b.png` or `.npy` class and instance. Evaluation servers
take them. NumPy and Pillow only.
"""

import os
import pathlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from deeplab2_like import errors
from deeplab2_like.config import names
from deeplab2_like.labels import label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.storage import (
    any_files,
    image_decoding,
    image_files,
    whole_files,
)

SEMANTIC_FOLDER, PANOPTIC_FOLDER = image_files.OUTPUT_FOLDERS
# The largest instance number of each format.
MAX_INSTANCE = names.RAW_PANOPTIC_FORMATS
TWO_CHANNEL_PNG, THREE_CHANNEL_PNG, TWO_CHANNEL_ARRAY = MAX_INSTANCE
_MAX_PNG_CLASS = 255
_FORMAT_FIELD = "evaluator_options.raw_panoptic_format"


class RawPredictionWriter:
    """A writer of the label maps of images, one image after the other.

    Each file is written completely or not at all.

    Attributes:
        folder: Folder of `raw_semantic` and `raw_panoptic`.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        descriptor: DatasetDescriptor,
        *,
        panoptic_format: str = TWO_CHANNEL_PNG,
        convert_ids: bool = True,
    ):
        """Checks the format; writes nothing yet.

        Args:
            folder: Folder of `raw_semantic` and `raw_panoptic`, in which files
                of earlier runs are replaced.
            descriptor: The data set.
            panoptic_format: Format of the panoptic maps, a key of
                `MAX_INSTANCE`.
            convert_ids: Whether classes are written as the data set's own
                category ids (Cityscapes: road is 7), void as
                `void_category_id`; else as class indices, void as
                ignore_label.

        Raises:
            ConfigError: The format does not exist, or classes of the data set
                do not fit into it.
        """
        check_format(
            descriptor, panoptic_format=panoptic_format, convert_ids=convert_ids
        )
        self.folder: str | pathlib.Path = pathlib.Path(folder)
        if any_files.is_remote(folder):
            self.folder = os.fspath(folder)
        self._descriptor = descriptor
        self._format = panoptic_format
        self._class_ids = _make_class_ids(descriptor, convert_ids)
        self._void = _choose_void(descriptor, convert_ids)
        self._names: set[pathlib.PurePosixPath] = set()

    def write(
        self,
        name: str,
        semantic_hw: npt.NDArray[Any],
        panoptic_hw: npt.NDArray[Any] | None = None,
    ) -> list[str | pathlib.Path]:
        """Writes the maps of one image.

        Args:
            name: Name of the image, with or without the extension of an image
                file; may contain folders ("sequence/frame").
            semantic_hw: Integers [H, W], class of each pixel; ignore_label is
                void.
            panoptic_hw: Integers [H, W], class * label_divisor + instance;
                None for a system without instances.

        Returns:
            Paths of the files.

        Raises:
            DataError: The name is not a path below the folder or was written
                before, or an instance number does not fit into the format.
        """
        path = self._choose_path(name)
        classes = self._convert(semantic_hw).astype(np.uint8)
        panoptic = None
        if panoptic_hw is not None:
            panoptic = self._encode(name, np.asarray(panoptic_hw))
        files = [self._save(SEMANTIC_FOLDER, path, classes)]
        if panoptic is not None:
            files.append(self._save(PANOPTIC_FOLDER, path, panoptic))
        self._names.add(path)
        return files

    def _choose_path(self, name: str) -> pathlib.PurePosixPath:
        path = choose_path(name, self.folder)
        if path in self._names:  # a.jpg and a.png are two images.
            path = pathlib.PurePosixPath(name)
        if path in self._names:
            raise errors.DataError(
                f"Two images are called {path.as_posix()!r}, so that one's "
                f"predictions in {self.folder} would replace the other's. "
                "Write the records with names that differ."
            )
        return path

    def _convert(self, classes_hw: npt.NDArray[Any]) -> npt.NDArray[np.int32]:
        """Returns the ids to write for classes."""
        number = np.arange(len(self._class_ids))
        return label_map.replace_values(
            classes_hw, number, self._class_ids, self._void
        )

    def _encode(
        self, name: str, panoptic_hw: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        divisor = self._descriptor.label_divisor
        class_hw, instance_hw = np.divmod(panoptic_hw, divisor)
        try:
            return encode_panoptic(
                self._convert(class_hw), instance_hw, self._format
            )
        except errors.DataError as error:
            raise errors.DataError(f"Image {name!r}: {error}") from error

    def _save(
        self, kind: str, path: pathlib.PurePosixPath, map_hwn: npt.NDArray[Any]
    ) -> str | pathlib.Path:
        is_array = map_hwn.dtype != np.uint8
        ending = ".npy" if is_array else ".png"
        target = any_files.join(self.folder, f"{kind}/{path}{ending}")
        any_files.make_folder(target.rpartition("/")[0])
        with whole_files.open_whole(target) as file:
            if is_array:
                np.save(file, map_hwn)
            else:
                picture = Image.fromarray(map_hwn)
                picture.save(file, format="PNG", compress_level=3)
        is_remote = any_files.is_remote(target)
        return target if is_remote else pathlib.Path(target)


def choose_path(
    name: str, folder: str | os.PathLike[str]
) -> pathlib.PurePosixPath:
    """Returns the path of an image's outputs, without extension.

    Args:
        name: Name of the image, with or without the extension of an image
            file; may contain folders ("sequence/frame").
        folder: Folder of the outputs, for the message.

    Returns:
        The path below the folder.

    Raises:
        DataError: The name is not a path below a folder.
    """
    path = pathlib.PurePosixPath(name)
    if path.suffix.lower() in image_decoding.SUFFIXES:
        path = path.with_suffix("")
    if not path.name or path.is_absolute() or ".." in path.parts:
        raise errors.DataError(
            f"The image name {name!r} cannot become a file name below "
            f"{folder}. Write the records with other names."
        )
    return path


def check_format(
    descriptor: DatasetDescriptor, *, panoptic_format: str, convert_ids: bool
) -> None:
    """Checks that the classes of a data set fit into a format.

    See `RawPredictionWriter` for the arguments and errors.
    """
    if panoptic_format not in MAX_INSTANCE:
        raise errors.ConfigError(
            f"{_FORMAT_FIELD} is {panoptic_format!r}. Known are "
            f"{', '.join(MAX_INSTANCE)}: choose one of them."
        )
    largest = max(
        *_make_class_ids(descriptor, convert_ids).tolist(),
        _choose_void(descriptor, convert_ids),
    )
    # Also for arrays: the semantic maps are always PNGs.
    if largest > _MAX_PNG_CLASS:
        kind = "category id" if convert_ids else "class"
        raise errors.ConfigError(
            f"The data set {descriptor.name!r} has the {kind} {largest}, but "
            f"raw predictions hold 0 to {_MAX_PNG_CLASS}. Set "
            "evaluator_options.convert_raw_to_eval_ids to "
            f"{str(not convert_ids).lower()}, or save_raw_predictions to "
            "false."
        )


def describe_many_instances(most: int) -> str:
    """Returns a sentence if the default format holds fewer instances, or "".

    Args:
        most: Most instances of one class in an image of the data set.
    """
    limit = MAX_INSTANCE[TWO_CHANNEL_PNG]
    if most <= limit:
        return ""
    return (
        f"An image has {most} instances of one class, and raw predictions hold "
        f"{limit} in the default format {TWO_CHANNEL_PNG}: write "
        f"{_FORMAT_FIELD}: {THREE_CHANNEL_PNG} to save them."
    )


def void_category_id(descriptor: DatasetDescriptor) -> int:
    """Returns the category id to write for void pixels.

    The id of the class that stands for void, where there is one (COCO: 0);
    else 0 (Cityscapes: "unlabeled"), unless a class has it; else ignore_label.
    """
    if 0 <= descriptor.ignore_label < descriptor.num_classes:
        return int(descriptor.category_ids[descriptor.ignore_label])
    return descriptor.ignore_label if 0 in descriptor.category_ids else 0


def _make_class_ids(
    descriptor: DatasetDescriptor, convert_ids: bool
) -> npt.NDArray[np.int64]:
    """Returns the id to write for each class index: int64 [C]."""
    if convert_ids:
        return np.array(descriptor.category_ids, np.int64)
    return np.arange(descriptor.num_classes)


def _choose_void(descriptor: DatasetDescriptor, convert_ids: bool) -> int:
    """Returns the id to write for void pixels."""
    if convert_ids:
        return void_category_id(descriptor)
    return descriptor.ignore_label


def encode_panoptic(
    class_hw: npt.NDArray[Any],
    instance_hw: npt.NDArray[Any],
    panoptic_format: str,
) -> npt.NDArray[Any]:
    """Encodes classes and instances as one array.

    Args:
        class_hw: Integers [H, W], class of each pixel.
        instance_hw: Integers [H, W], instance number, 0 for stuff.
        panoptic_format: Format of the array, a key of `MAX_INSTANCE`.

    Returns:
        two_channel_png: uint8 [H, W, 3], (class, instance, 0).
        three_channel_png: uint8 [H, W, 3], (class, instance // 256,
            instance % 256).
        two_channel_numpy_array: int32 [H, W, 2], (class, instance). deeplab2
            adds a third channel of zeros.

    Raises:
        DataError: A number is too large for the format.
    """
    limit = MAX_INSTANCE[panoptic_format]
    largest = int(instance_hw.max(initial=0))
    if largest > limit:
        larger = [form for form in MAX_INSTANCE if MAX_INSTANCE[form] > limit]
        raise errors.DataError(
            f"it has the instance number {largest}, but {panoptic_format} "
            f"holds 0 to {limit}. Write {_FORMAT_FIELD}: "
            f"{' or '.join(larger)}."
        )
    if panoptic_format == TWO_CHANNEL_ARRAY:
        return np.stack([class_hw, instance_hw], axis=-1).astype(np.int32)
    if int(class_hw.max(initial=0)) > _MAX_PNG_CLASS:
        raise errors.DataError(
            f"it has the class id {int(class_hw.max())}, but a PNG holds 0 to "
            f"{_MAX_PNG_CLASS}. Write {_FORMAT_FIELD}: {TWO_CHANNEL_ARRAY}."
        )
    if panoptic_format == TWO_CHANNEL_PNG:
        channels = [class_hw, instance_hw, np.zeros_like(instance_hw)]
    else:
        channels = [class_hw, instance_hw // 256, instance_hw % 256]
    return np.stack([c.astype(np.uint8) for c in channels], axis=-1)


def load_raw_panoptic(
    path: str | os.PathLike[str], panoptic_format: str
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Loads a file of the folder `raw_panoptic`.

    Args:
        path: Path of the file.
        panoptic_format: Format of the file; it cannot be read from a PNG.

    Returns:
        int32 [H, W], id of the class of each pixel; and int32 [H, W], instance
        number of each pixel.

    Raises:
        DataError: The file is missing, damaged or in another format.
    """
    try:
        if panoptic_format == TWO_CHANNEL_ARRAY:
            values = np.load(path)
        else:
            with Image.open(path) as picture:
                values = np.asarray(picture)
        if values.ndim != 3 or values.shape[-1] not in (2, 3):
            raise ValueError(f"its dimensions are {list(values.shape)}")
    except FileNotFoundError as error:
        raise errors.DataError(
            f"{path} does not exist. Give a file of {PANOPTIC_FOLDER}."
        ) from error
    except (OSError, ValueError, SyntaxError, UnidentifiedImageError) as error:
        raise errors.DataError(
            f"{path} is no panoptic map in the form {panoptic_format} "
            f"({error}). Check the form, or write it again."
        ) from error
    channels = values.astype(np.int32)
    if panoptic_format == THREE_CHANNEL_PNG:
        return channels[..., 0], channels[..., 1] * 256 + channels[..., 2]
    return channels[..., 0], channels[..., 1]
