# SPDX-License-Identifier: Apache-2.0
"""The published data sets that are read."""

from deeplab2_like import errors
from deeplab2_like.recipes.published import (
    ade20k,
    bdd100k,
    cityscapes,
    coco,
    step,
    vistas,
)
from deeplab2_like.recipes.published.items import PublishedSet

SETS: tuple[PublishedSet, ...] = (
    cityscapes.CITYSCAPES,
    cityscapes.CITYSCAPES_COARSE,
    coco.COCO,
    ade20k.ADE20K,
    vistas.VISTAS_1_2,
    vistas.VISTAS_2_0,
    step.KITTI_STEP,
    step.MOTCHALLENGE_STEP,
    bdd100k.BDD100K,
)


def list_keys() -> list[str]:
    """Returns the names of the data sets on command lines."""
    return [one.key for one in SETS]


def find_set(key: str) -> PublishedSet:
    """Returns a data set.

    Args:
        key: Its name.

    Raises:
        errors.ConfigError: There is none of that name.
    """
    for one in SETS:
        if one.key == key:
            return one
    raise errors.ConfigError(
        f"{key!r} is no published data set that is read. Known are "
        f"{', '.join(list_keys())}."
    )
