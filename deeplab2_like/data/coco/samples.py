# SPDX-License-Identifier: Apache-2.0
"""Loads the images and labels of a data set in COCO-panoptic layout.

`load_sample` reads one entry of the JSON file (see `entries`): the image and
its panoptic label. Every difference between JSON, PNG and image is a
`DataError` that names the image and the segment. No TensorFlow here.
"""

import dataclasses
import io
from collections import Counter
from collections.abc import Mapping

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from deeplab2_like import errors
from deeplab2_like.data.coco.entries import (
    Entry,
    find_duplicates,
    summarize_names,
)
from deeplab2_like.labels import coco_format, label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor

_EXIF_ORIENTATION = 0x0112
_PNG_BIT_DEPTH_BYTE = 24
# Formats and modes that every reader of the records decodes to equal RGB.
_KEPT = {("JPEG", "L"), ("JPEG", "RGB"), ("PNG", "L"), ("PNG", "RGB")}


@dataclasses.dataclass(frozen=True)
class Sample:
    """One image as a record contains it.

    Attributes:
        name: Name of the image.
        image: Content of its file, a JPEG or PNG.
        image_format: "jpeg" or "png".
        size: (height, width).
        panoptic: int32 [H, W], class * label_divisor + instance; None without
            labels.
        instances: Number of instances by class, crowds not counted.
        num_crowds: Number of crowd segments.
        is_converted: Whether the file was rewritten (other format, or rotated
            by its EXIF data).
    """

    name: str
    image: bytes
    image_format: str
    size: tuple[int, int]
    panoptic: np.ndarray | None
    instances: Counter[int]
    num_crowds: int
    is_converted: bool


def _rewrite_image(
    entry: Entry, image: Image.Image, label_size: tuple[int, ...] | None
) -> tuple[Image.Image, bool]:
    """Returns the image upright, as RGB, and whether its file must change.

    The sizes show whether the label belongs to the image as stored or as
    rotated by its EXIF data; where they fit both, it is rotated.
    """
    if image.mode.startswith(("I", "F")):
        raise errors.DataError(
            f"Image {entry.name!r} has more than 8 bits a channel"
            f" ({entry.image_path!r}, mode {image.mode}). Scale it to 8 bits"
            " first."
        )
    if image.getexif().get(_EXIF_ORIENTATION, 1) != 1:
        turned = ImageOps.exif_transpose(image)
        if label_size in (None, turned.size[::-1]):
            return turned.convert("RGB"), True
    if (image.format, image.mode) in _KEPT:
        return image, False
    return image.convert("RGB"), True


def _load_image(
    entry: Entry, label_size: tuple[int, ...] | None
) -> tuple[bytes, str, tuple[int, int], bool]:
    """Returns content, format, size, and whether the file was rewritten."""
    try:
        with open(entry.image_path, "rb") as stream:
            encoded = stream.read()
        with Image.open(io.BytesIO(encoded)) as image:
            image.load()
            file_format = str(image.format).lower()
            upright, is_rewritten = _rewrite_image(entry, image, label_size)
            size = (upright.height, upright.width)
    except (UnidentifiedImageError, OSError, SyntaxError) as error:
        raise errors.DataError(
            f"Image {entry.name!r} cannot be read as an image"
            f" ({entry.image_path!r}: {error}). Write or download it again."
        ) from error
    if is_rewritten:
        output = io.BytesIO()
        upright.save(output, format="PNG")
        encoded, file_format = output.getvalue(), "png"
    return encoded, file_format, size, is_rewritten


def _load_ids(entry: Entry) -> np.ndarray:
    with open(entry.label_path, "rb") as stream:
        header = stream.read(_PNG_BIT_DEPTH_BYTE + 1)
    if header.startswith(b"\x89PNG") and header[_PNG_BIT_DEPTH_BYTE] == 16:
        raise errors.DataError(
            f"Image {entry.name!r}: the PNG {entry.label_path!r} has 16 bits a"
            " channel. A COCO-panoptic PNG has 8: segment id = R + 256 * G +"
            " 65536 * B."
        )
    return coco_format.load_segment_ids(entry.label_path)


def _find_segment_problems(
    entry: Entry, areas: dict[int, int], descriptor: DatasetDescriptor
) -> list[str]:
    classes = descriptor.class_of_category()
    listed = [segment["id"] for segment in entry.segments]
    problems = [
        f"segment {key} is listed more than once"
        for key in find_duplicates(listed)
    ]
    problems += [
        f"segment {key} ({area} pixels) is in the PNG but not in the JSON"
        for key, area in areas.items()
        if key not in set(listed)
    ]
    for segment in entry.segments:
        where = f"segment {segment['id']}"
        if segment["id"] not in areas:
            problems.append(f"{where} is in the JSON but not in the PNG")
        elif segment.get("area", areas[segment["id"]]) != areas[segment["id"]]:
            problems.append(
                f"{where} has the area {segment['area']} in the JSON but"
                f" {areas[segment['id']]} pixels in the PNG"
            )
        if segment.get("category_id") not in classes:
            problems.append(
                f"{where} has the category_id {segment.get('category_id')},"
                f" which data set {descriptor.name!r} does not have (it has"
                f" {summarize_names(sorted(classes), 8)})"
            )
    return problems


def _check_sizes(
    entry: Entry, sizes: Mapping[str, tuple[int, ...] | None]
) -> None:
    if len(set(sizes.values()) - {None}) <= 1:
        return
    described = ", ".join(
        f"{name} {size[0]}x{size[1]}" for name, size in sizes.items() if size
    )
    raise errors.DataError(
        f"Image {entry.name!r} has different sizes (height x width):"
        f" {described}. They must be equal."
    )


def _check_segments(
    entry: Entry, ids_hw: np.ndarray, descriptor: DatasetDescriptor
) -> None:
    found = label_map.compute_segments(ids_hw)
    areas = dict(zip(found.ids.tolist(), found.areas.tolist(), strict=True))
    areas.pop(0, None)
    bare = sum("id" not in segment for segment in entry.segments)
    problems = (
        [f"{bare} segments have no id"]
        if bare
        else _find_segment_problems(entry, areas, descriptor)
    )
    if problems:
        more = len(problems) - 3
        raise errors.DataError(
            f"Image {entry.name!r}: {'; '.join(problems[:3])}"
            f"{f'; and {more} more problems' if more > 0 else ''}. JSON and PNG"
            " must agree: write them again, or correct the data set"
            " description."
        )


def number_segments(
    entry: Entry,
    descriptor: DatasetDescriptor,
    *,
    treat_crowd_as_ignore: bool = False,
) -> tuple[np.ndarray, Counter[int], int]:
    """Computes the panoptic id of each segment of an image.

    deeplab2: `data/build_coco_data.py`. Things are numbered from 1 within each
    class in the order of the JSON, crowds and stuff have instance 0.

    Args:
        entry: The image.
        descriptor: The data set.
        treat_crowd_as_ignore: Whether crowds become void.

    Returns:
        int64 [number of segments], class * label_divisor + instance; the
        number of instances by class; the number of crowds.

    Raises:
        errors.DataError: A class has more instances than the divisor allows.
    """
    classes = descriptor.class_of_category()
    instances: Counter[int] = Counter()
    num_crowds = 0
    ids = np.full(len(entry.segments), descriptor.void_id, np.int64)
    for place, segment in enumerate(entry.segments):
        index = classes[segment["category_id"]]
        if index == descriptor.ignore_label:
            continue
        instance = 0
        if segment.get("iscrowd"):
            num_crowds += 1
            if treat_crowd_as_ignore:
                continue
        elif descriptor.is_thing(index):
            instances[index] += 1
            instance = instances[index]
        ids[place] = index * descriptor.label_divisor + instance
    for index, count in instances.items():
        if count >= descriptor.label_divisor:
            raise errors.DataError(
                f"Image {entry.name!r} has {count} instances of"
                f" {descriptor.class_names[index]!r}, but label_divisor"
                f" {descriptor.label_divisor} of data set"
                f" {descriptor.name!r} allows {descriptor.label_divisor - 1}."
                " Raise label_divisor in the data set description."
            )
    return ids, instances, num_crowds


def load_sample(
    entry: Entry,
    descriptor: DatasetDescriptor,
    *,
    treat_crowd_as_ignore: bool = False,
) -> Sample:
    """Loads an image and its panoptic label.

    Args:
        entry: One of the results of `entries.load_entries`.
        descriptor: The data set.
        treat_crowd_as_ignore: See `number_segments`.

    Returns:
        The image and its label. The file is kept where every reader decodes it
        alike (grey or RGB, 8 bits, JPEG or PNG), otherwise it is rewritten as
        RGB PNG. Unlabeled pixels (id 0) are void.

    Raises:
        errors.DataError: A file cannot be read, or the files do not agree.
    """
    if not entry.label_path:
        image, file_format, size, is_converted = _load_image(entry, None)
        return Sample(
            entry.name,
            image,
            file_format,
            size,
            None,
            Counter(),
            0,
            is_converted,
        )
    ids_hw = _load_ids(entry)
    image, file_format, size, is_converted = _load_image(entry, ids_hw.shape)
    _check_sizes(
        entry,
        {"the image": size, "the PNG": ids_hw.shape, "the JSON": entry.size},
    )
    _check_segments(entry, ids_hw, descriptor)
    numbers, instances, num_crowds = number_segments(
        entry, descriptor, treat_crowd_as_ignore=treat_crowd_as_ignore
    )
    panoptic = np.full(ids_hw.shape, descriptor.void_id, np.int32)
    if entry.segments:
        panoptic = label_map.replace_values(
            ids_hw,
            np.array([segment["id"] for segment in entry.segments]),
            numbers,
            default=descriptor.void_id,
        )
    return Sample(
        entry.name,
        image,
        file_format,
        size,
        panoptic,
        instances,
        num_crowds,
        is_converted,
    )
