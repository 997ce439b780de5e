# SPDX-License-Identifier: Apache-2.0
"""Descriptors of data sets: their classes, things and ids.

A descriptor is read from the text file of the data set in configs/datasets, or
from the user's own.
"""

import colorsys
import dataclasses
import os
from collections.abc import Sequence

from deeplab2_like import config
from deeplab2_like.protos import config_pb2, dataset_descriptor_pb2


@dataclasses.dataclass(frozen=True)
class DatasetDescriptor:
    """A data set.

    A panoptic id is class * label_divisor + instance. Pixels that are not
    scored (void) have `void_id`. A thing class with instance 0 is a crowd.

    Attributes:
        name: Name of the data set.
        num_classes: Number of classes, those that stand for void included.
        thing_ids: Class indices with instances, ascending.
        stuff_ids: The other class indices, ascending, without `ignore_label`.
        ignore_label: Class of void pixels: a class index (coco_panoptic: 0) or
            a number outside 0..num_classes - 1 (usually 255).
        label_divisor: More than the largest instance number.
        class_names: Name of each class.
        colors: (red, green, blue), 0..255, of each class.
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
        """Returns whether a class index has instances."""
        return class_id in self.thing_ids

    def class_of_category(self) -> dict[int, int]:
        """Returns the class index by id of the annotations."""
        return {
            category: index for index, category in enumerate(self.category_ids)
        }


def from_proto(
    proto: dataset_descriptor_pb2.DatasetDescriptor,
) -> DatasetDescriptor:
    """Makes the descriptor of a valid message.

    Classes without a color get one of their own, classes without category_id
    get their index.
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
    # Steps of the golden angle keep neighbors apart for any number of classes.
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
        folder: Folder where a relative path is looked up before the working
            directory.

    Raises:
        deeplab2_like.errors.ConfigError: There is none of that name (the text
            lists the known ones), or it has problems.
    """
    return from_proto(config.load_dataset(name, folder))


def name_of_run(options: config_pb2.ExperimentOptions) -> str:
    """Returns the data set of a run: that of training, or else of evaluation.

    Args:
        options: The config of the run.
    """
    return (
        options.train_dataset_options.dataset
        or options.eval_dataset_options.dataset
    )


def load_of_run(options: config_pb2.ExperimentOptions) -> DatasetDescriptor:
    """Reads the descriptor of `name_of_run`; raises as `load` does."""
    return load(name_of_run(options))


def make(
    stuff: Sequence[str],
    things: Sequence[str],
    *,
    name: str = "custom",
    ignore_label: int = 255,
    label_divisor: int = 1000,
) -> DatasetDescriptor:
    """Makes a descriptor from names of classes, without a file.

    Args:
        stuff: Names of the classes without instances: classes 0, 1 ...
        things: Names of the classes with instances, numbered behind them.
        name: Name of the data set.
        ignore_label: Class of pixels that are not scored.
        label_divisor: More than the largest instance number.

    Raises:
        deeplab2_like.config.InvalidConfigError: There is no class, a class
            has no name or the name of another one, `ignore_label` is a thing,
            or a number is out of range.
    """
    proto = dataset_descriptor_pb2.DatasetDescriptor(
        name=name, ignore_label=ignore_label, label_divisor=label_divisor
    )
    for names, is_thing in ((stuff, False), (things, True)):
        for class_name in names:
            proto.classes.add(name=class_name, is_thing=is_thing)
    config.check_dataset(proto)
    return from_proto(proto)
