# SPDX-License-Identifier: Apache-2.0
"""Loads the images and labels of a data set in COCO-panoptic layout.

`load_sample` reads one entry of the JSON file (see `entries`): the image and
its panoptic label. Every difference between JSON, PNG and image is a
`DataError` that names the image and the segment. No TensorFlow here.
"""

import dataclasses
import io
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.labels import coco_format, json_values, label_map
from deeplab2_like.labels.coco_json_types import Segment
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.storage import exif_convention, image_decoding, image_files


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
        num_other_areas: Number of segments with another `area` in the JSON
            file than pixels in the PNG; they are read.
        note: Sentence about what is left out of the file, such as further
            pages; "" if nothing is.
        pixels: uint8 [H, W, 3], the image, decoded.
    """

    name: str
    image: bytes
    image_format: str
    size: tuple[int, int]
    panoptic: np.ndarray | None
    instances: Counter[int]
    num_crowds: int
    is_converted: bool
    num_other_areas: int = 0
    note: str = ""
    pixels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class ImageOfRecord:
    """The image of a sample.

    Attributes:
        content: Content of its file, a JPEG or PNG.
        file_format: "jpeg" or "png".
        size: (height, width).
        is_converted: Whether the file was rewritten.
        note: See `Sample`.
        pixels: uint8 [H, W, 3], the image, decoded.
    """

    content: bytes
    file_format: str
    size: tuple[int, int]
    is_converted: bool
    note: str
    pixels: np.ndarray

    def with_label(
        self,
        name: str,
        panoptic: np.ndarray | None,
        instances: Counter[int],
        num_crowds: int,
        *,
        num_other_areas: int = 0,
        note: str = "",
    ) -> Sample:
        """Returns the sample of this image and its label.

        Args:
            name: Name of the image.
            panoptic: See `Sample`, as for all others.
            instances: As `number_segments` counts them.
            num_crowds: The same.
            num_other_areas: See `Sample`.
            note: What is left out of the label; added to that of the image.
        """
        return Sample(
            name,
            self.content,
            self.file_format,
            self.size,
            panoptic,
            instances,
            num_crowds,
            self.is_converted,
            num_other_areas,
            " ".join(filter(None, [self.note, note])),
            self.pixels,
        )


def load_image(
    entry: Entry, label_size: tuple[int, ...] | None
) -> ImageOfRecord:
    """Loads an image, turned upright where its label is.

    Args:
        entry: The image.
        label_size: (height, width) of the label; None where that is not known.

    Raises:
        errors.DataError: It cannot be read.
    """
    try:
        content = image_files.read_file(entry.image_path)
        image = image_decoding.open_image(content, f"Image {entry.name!r}")
        is_turned = image.orientation != 1 and exif_convention.is_upright(
            image, label_size, entry.prefers_upright
        )
        pixels_hw3 = image.decode(upright=is_turned)
    except errors.DataError as error:
        raise errors.DataError(
            f"{error} The file is {entry.image_path!r}."
        ) from error
    is_converted = is_turned or not image.is_plain
    file_format = image.format.lower()
    if is_converted:
        output = io.BytesIO()
        Image.fromarray(pixels_hw3).save(output, format="PNG")
        content, file_format = output.getvalue(), "png"
    height, width = pixels_hw3.shape[:2]
    return ImageOfRecord(
        content,
        file_format,
        (height, width),
        is_converted,
        image.note,
        pixels_hw3,
    )


def _find_segment_problems(
    entry: Entry, areas: dict[int, int], descriptor: DatasetDescriptor
) -> list[str]:
    classes = descriptor.class_of_category()
    listed = {segment.id for segment in entry.segments}
    problems = []
    unlisted = {key: areas[key] for key in areas if key not in listed}
    if unlisted:
        problems.append(
            coco_format.describe_unlisted_ids(
                entry.label_path, unlisted, len(listed)
            )
        )
    for segment in entry.segments:
        where = f"segment {segment.id}"
        if segment.id not in areas:
            problems.append(f"{where} is in the JSON but not in the PNG")
        if segment.category_id not in classes:
            problems.append(
                f"{where} has the category_id {segment.category_id},"
                f" which data set {descriptor.name!r} does not have (it has"
                f" {json_values.summarize(sorted(classes), 8)})"
            )
    return problems


def check_sizes(
    entry: Entry, sizes: Mapping[str, tuple[int, ...] | None]
) -> None:
    """Checks that image and label have one size.

    Args:
        entry: The image.
        sizes: (height, width) by what has it, for the message; None where it
            has none.

    Raises:
        errors.DataError: They differ.
    """
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
) -> int:
    """Checks that PNG and JSON have the same segments.

    Returns:
        Number of segments with another area in the JSON. Tools that compute it
        from polygons write such; records do not contain it.
    """
    found = label_map.compute_segments(ids_hw)
    areas = dict(zip(found.ids.tolist(), found.areas.tolist(), strict=True))
    areas.pop(0, None)
    problems = _find_segment_problems(entry, areas, descriptor)
    if problems:
        more = len(problems) - 3
        raise errors.DataError(
            f"Image {entry.name!r}: {'; '.join(problems[:3])}"
            f"{f'; and {more} more problems' if more > 0 else ''}. JSON and PNG"
            " must agree: write them again, or correct the data set"
            " description."
        )
    return sum(
        segment.area is not None and segment.area != areas[segment.id]
        for segment in entry.segments
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
        index = classes[segment.category_id]
        if index == descriptor.ignore_label:
            continue
        instance = 0
        if segment.is_crowd:
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
        image = load_image(entry, entry.size)
        return image.with_label(entry.name, None, Counter(), 0)
    ids_hw = coco_format.load_segment_ids(entry.label_path)
    image = load_image(entry, ids_hw.shape)
    check_sizes(
        entry,
        {
            "the image": image.size,
            "the PNG": ids_hw.shape,
            "the JSON": entry.size,
        },
    )
    num_other_areas = _check_segments(entry, ids_hw, descriptor)
    numbers, instances, num_crowds = number_segments(
        entry, descriptor, treat_crowd_as_ignore=treat_crowd_as_ignore
    )
    return image.with_label(
        entry.name,
        draw_segments(ids_hw, entry.segments, numbers, descriptor),
        instances,
        num_crowds,
        num_other_areas=num_other_areas,
    )


def draw_segments(
    ids_hw: np.ndarray,
    segments: Sequence[Segment],
    numbers: np.ndarray,
    descriptor: DatasetDescriptor,
) -> np.ndarray:
    """Puts what segments are in place of their ids.

    Args:
        ids_hw: int [H, W], id of the segment of each pixel.
        segments: The segments.
        numbers: What each is in the label, as `number_segments` returns it.
        descriptor: The data set.

    Returns:
        int32 [H, W], class * label_divisor + instance; void where there is no
        segment.
    """
    if not segments:
        return np.full(ids_hw.shape, descriptor.void_id, np.int32)
    return label_map.replace_values(
        ids_hw,
        np.array([segment.id for segment in segments]),
        numbers,
        default=descriptor.void_id,
    )
