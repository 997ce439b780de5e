# SPDX-License-Identifier: Apache-2.0
"""From the label files of a published data set to samples of records.

A data set has a function that reads the label of an image as a map of segment
ids and a list of segments (`SegmentMap`); `load_sample` does the rest, by the
rules of the converter of COCO-panoptic data. No TensorFlow here.
"""

import dataclasses
from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.labels import coco_format, json_values, label_map, pixel_maps
from deeplab2_like.labels.coco_json_types import Segment
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.labels.pixel_maps import Kind, PixelMap

_FEW = 3


@dataclasses.dataclass(frozen=True, eq=False)
class SegmentMap:
    """The label of an image.

    Attributes:
        ids: Integers [H, W], segment of each pixel; ids without a segment are
            void.
        segments: The segments, in the order in which the instances of a class
            are numbered. Their categories are classes of the data set.
    """

    ids: npt.NDArray[Any]
    segments: Sequence[Segment]


ReadLabel = Callable[[Entry, DatasetDescriptor], SegmentMap]


def load_sample(
    entry: Entry,
    descriptor: DatasetDescriptor,
    read_label: ReadLabel,
    *,
    treat_crowd_as_ignore: bool = False,
) -> Sample:
    """Loads an image and its label.

    Args:
        entry: The image.
        descriptor: The data set.
        read_label: Function that reads its label.
        treat_crowd_as_ignore: Whether crowds become void.

    Raises:
        errors.DataError: A file cannot be read, or the files do not agree.
    """
    label = read_label(entry, descriptor)
    numbers, instances, num_crowds = coco_samples.number_segments(
        dataclasses.replace(entry, segments=label.segments),
        descriptor,
        treat_crowd_as_ignore=treat_crowd_as_ignore,
    )
    panoptic = coco_samples.draw_segments(
        label.ids, label.segments, numbers, descriptor
    )
    image = coco_samples.load_image(entry, panoptic.shape)
    coco_samples.check_sizes(
        entry, {"the image": image.size, "the label": panoptic.shape}
    )
    return image.with_label(entry.name, panoptic, instances, num_crowds)


def read_panoptic_png(
    entry: Entry,
    descriptor: DatasetDescriptor,
    *,
    ignored: Collection[int] = (),
) -> SegmentMap:
    """Reads the label of a data set whose JSON lists segments without pixels.

    Where stuff was drawn first and things over it, a segment may have no pixel
    left, and another area than the JSON says.

    Args:
        entry: The image with the segments of the JSON.
        descriptor: The data set.
        ignored: Categories that are not scored.

    Raises:
        errors.DataError: The PNG has an id that the JSON does not list, or the
            data set lacks a category.
    """
    ids_hw = coco_format.load_segment_ids(entry.label_path)
    found = label_map.compute_segments(ids_hw)
    areas = dict(zip(found.ids.tolist(), found.areas.tolist(), strict=True))
    areas.pop(0, None)
    listed = {segment.id for segment in entry.segments}
    unlisted = {key: areas[key] for key in areas if key not in listed}
    if unlisted:
        problem = coco_format.describe_unlisted_ids(
            entry.label_path, unlisted, len(listed)
        )
        raise errors.DataError(
            f"Image {entry.name!r}: {problem}. JSON and PNG must agree: write "
            "them again."
        )
    classes = descriptor.class_of_category()
    segments = [
        segment
        for segment in entry.segments
        if segment.id in areas and segment.category_id not in ignored
    ]
    for segment in segments:
        if segment.category_id not in classes:
            raise errors.DataError(
                f"Image {entry.name!r}: segment {segment.id} has the "
                f"category_id {segment.category_id}, which data set "
                f"{descriptor.name!r} does not have (it has "
                f"{json_values.summarize(sorted(classes), 8)}). Write the JSON "
                "again from the published files."
            )
    return SegmentMap(ids_hw, segments)


def load_grey(path: str, entry: Entry, *, max_value: int) -> PixelMap:
    """Loads a label image whose grey values are numbers.

    Args:
        path: The file.
        entry: The image in messages.
        max_value: The largest number that the data set's coding has.

    Raises:
        errors.DataError: It cannot be read, has colors, or larger numbers.
    """
    pixels = pixel_maps.load(path)
    if pixels.kind not in (Kind.GREY, Kind.PALETTE):
        raise errors.DataError(
            f"Image {entry.name!r}: the label {path} has {pixels.kind.value}, "
            "but must have numbers (grey values of 8 or 16 bits). Is it the "
            "picture of the colors instead of the ids?"
        )
    if pixels.values.size and pixels.values.max() > max_value:
        raise errors.DataError(
            f"Image {entry.name!r}: the label {path} has numbers up to "
            f"{pixels.values.max()}, but those of the data set are 0 to "
            f"{max_value}. Unpack the published file again."
        )
    return pixels


def refuse_numbers(
    entry: Entry, path: str, numbers: Sequence[int], allowed: str
) -> errors.DataError:
    """Makes the error of numbers that the coding of a data set lacks.

    Args:
        entry: The image.
        path: The label.
        numbers: The numbers; one or more.
        allowed: What is allowed, after "Allowed are".
    """
    shown = ", ".join(map(str, numbers[:_FEW]))
    more = f" and {len(numbers) - _FEW} more" if len(numbers) > _FEW else ""
    return errors.DataError(
        f"Image {entry.name!r}: the label {path} has the number"
        f"{'s' if len(numbers) > 1 else ''} {shown}{more}, which the data set "
        f"does not have. Allowed are {allowed}. Unpack the published file "
        "again, or give the right folder."
    )
