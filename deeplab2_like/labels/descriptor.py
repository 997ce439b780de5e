# SPDX-License-Identifier: Apache-2.0
"""What a data set is: its classes, its things, and how its ids are made.

The one place where these facts are stated is the text file of the data set in
configs/datasets (or the user's own); this is the plain object made from it.
"""

import colorsys
import dataclasses
import os

from deeplab2_like import config
from deeplab2_like.protos import dataset_descriptor_pb2


@dataclasses.dataclass(frozen=True)
class DatasetDescriptor:
    """A data set.

    A panoptic id is class * label_divisor + instance. Pixels that are not
    scored (void) have `void_id`. A thing class with instance 0 is a crowd.

    Attributes:
        name: Name of the data set.
        num_classes: Number of classes, those that stand for void included.
        thing_ids: Class indices with instances, rising.
        stuff_ids: The other class indices, rising, without `ignore_label`.
        ignore_label: Class of void pixels: a class index (coco_panoptic: 0) or
            a number outside 0..num_classes - 1 (usually 255).
        label_divisor: More than the largest instance number.
        class_names: One for each class.
        colors: (red, green, blue), 0..255, one for each class.
        category_ids: Id of each class in the data set's own annotations:
            category_id of the COCO-panoptic JSON, Cityscapes label id.
    """

    name: str
    num_classes: int
    thing_ids: tuple[int, ...]
    stuff_ids: tuple[int, ...]
    ignore_label: int
    label_divisor: int
    class_names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    category_ids: tuple[int, ...]

    @property
    def void_id(self) -> int:
        """Panoptic id of pixels that are not scored."""
        return self.ignore_label * self.label_divisor

    def is_thing(self, class_id: int) -> bool:
        """Says whether a class index has instances."""
        return class_id in self.thing_ids

    def class_of_category(self) -> dict[int, int]:
        """Maps the ids of the annotations to class indices."""
        return {
            category: index for index, category in enumerate(self.category_ids)
        }


def from_proto(
    proto: dataset_descriptor_pb2.DatasetDescriptor,
) -> DatasetDescriptor:
    """Makes the plain object of a valid message.

    Classes without a color get one of their own; classes without category_id
    their index.
    """
    classes = range(len(proto.classes))
    things = tuple(i for i in classes if proto.classes[i].is_thing)
    return DatasetDescriptor(
        name=proto.name,
        num_classes=len(classes),
        thing_ids=things,
        stuff_ids=tuple(
            i for i in classes if i not in things and i != proto.ignore_label
        ),
        ignore_label=proto.ignore_label,
        label_divisor=proto.label_divisor,
        class_names=tuple(entry.name for entry in proto.classes),
        colors=tuple(
            _choose_color(entry, index)
            for index, entry in enumerate(proto.classes)
        ),
        category_ids=tuple(
            entry.category_id if entry.HasField("category_id") else index
            for index, entry in enumerate(proto.classes)
        ),
    )


def _choose_color(
    entry: dataset_descriptor_pb2.ClassDescriptor, index: int
) -> tuple[int, int, int]:
    if entry.color:
        red, green, blue = entry.color
        return red, green, blue
    # Steps of the golden angle keep neighbours apart however many there are.
    golden = 0.618034
    red, green, blue = (
        round(255 * part)
        for part in colorsys.hsv_to_rgb((index * golden) % 1.0, 0.65, 0.85)
    )
    return red, green, blue


def load(
    name: str, folder: str | os.PathLike[str] | None = None
) -> DatasetDescriptor:
    """Reads a data set descriptor.

    Args:
        name: Name of a shipped descriptor ("cityscapes_panoptic"), or the path
            of a text file that ends in ".textproto".
        folder: Where a relative path is looked up before the working directory.

    Raises:
        deeplab2_like.errors.ConfigError: There is none of that name (the text
            lists the known ones), or it has problems.
    """
    return from_proto(config.load_dataset(name, folder))
