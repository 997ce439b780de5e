# SPDX-License-Identifier: Apache-2.0
"""The classes that published models have, in the order of their outputs.

A class is the `category_id` of the data set's descriptor. Where the classes of
a file are those of a descriptor here, outputs are brought into the order of the
descriptor, whatever that is; else they are taken in the order of the file.

Sources: detectron2.data.datasets.builtin_meta (COCO: things, then stuff, by
id); the categories of COCO's panoptic annotations, which
datasets/prepare_coco_panoptic_trainid.py of panoptic-deeplab numbers in their
order; cityscapesScripts' train ids.
"""

import dataclasses

from deeplab2_like.labels import descriptor as descriptor_lib

# Ids of COCO that no class has.
_COCO_GAPS = {12, 26, 29, 30, 45, 66, 68, 69, 71, 83}
COCO_THINGS = tuple(n for n in range(1, 91) if n not in _COCO_GAPS)
COCO_STUFF = (
    *(92, 93, 95, 100, 107, 109, 112, 118, 119, 122, 125, 128, 130, 133, 138),
    *(141, 144, 145, 147, 148, 149, 151, 154, 155, 156, 159, 161, 166, 168),
    *(171, 175, 176, 177, 178, 180, 181, *range(184, 201)),
)
CITYSCAPES = (
    *(7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23),
    *(24, 25, 26, 27, 28, 31, 32, 33),
)
# Classes of a head for all of them -> the ids, and the descriptor here.
_HEADS = {
    len(CITYSCAPES): (CITYSCAPES, "cityscapes_panoptic"),
    len(COCO_THINGS + COCO_STUFF): (COCO_THINGS + COCO_STUFF, "coco_panoptic"),
}


@dataclasses.dataclass(frozen=True)
class Order:
    """Where the classes of a descriptor are among the outputs of a file.

    Attributes:
        classes: For each class the number of the output; None for the ignored
            one, where a file has no output for it.
        is_known: Whether the order of the file is known; else it is taken to
            be that of the descriptor.
    """

    classes: tuple[int | None, ...]
    is_known: bool


def name_data_set(num_classes: int) -> str | None:
    """Returns the descriptor for a head of so many classes, if it is known."""
    _, name = _HEADS.get(num_classes, ((), None))
    return name


def order_classes(
    descriptor: descriptor_lib.DatasetDescriptor, num_outputs: int
) -> Order | None:
    """Finds the classes of a descriptor in a head for all classes.

    Args:
        descriptor: The data set.
        num_outputs: Outputs of the head in the file.

    Returns:
        The order; None where the head is for another number of classes.
    """
    ignored = descriptor.ignore_label
    own = range(descriptor.num_classes)
    others = [index for index in own if index != ignored]
    ids, _ = _HEADS.get(num_outputs, ((), None))
    if {descriptor.category_ids[index] for index in others} == set(ids):
        places = {category: place for place, category in enumerate(ids)}
        found = (places.get(descriptor.category_ids[index]) for index in own)
        return Order(
            tuple(
                None if index == ignored else place
                for index, place in zip(own, found, strict=True)
            ),
            is_known=True,
        )
    if num_outputs == len(own):
        return Order(tuple(own), is_known=False)
    if num_outputs == len(others):
        order = [
            others.index(index) if index != ignored else None for index in own
        ]
        return Order(tuple(order), is_known=False)
    return None


def order_coco(
    descriptor: descriptor_lib.DatasetDescriptor,
) -> tuple[list[int], list[int]] | None:
    """Finds things and stuff of a descriptor in detectron2's COCO heads.

    Returns:
        For each thing its number among `COCO_THINGS`, and for each stuff class
        that among `COCO_STUFF`; None where the data set has other classes.
    """
    orders = []
    for own, ids in (
        (descriptor.thing_ids, COCO_THINGS),
        (descriptor.stuff_ids, COCO_STUFF),
    ):
        categories = [descriptor.category_ids[index] for index in own]
        if set(categories) != set(ids):
            return None
        orders.append([ids.index(category) for category in categories])
    return orders[0], orders[1]
