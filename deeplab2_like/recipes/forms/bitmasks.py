# SPDX-License-Identifier: Apache-2.0
"""Bitmasks of four channels, as BDD100K has them.

R is the class, 0 where there is none. G has bits: 1 ignored, 2 crowd, 4
occluded, 8 truncated. B and A are the high and low byte of the number of the
object; stuff has numbers, too.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from deeplab2_like import errors
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels import pixel_maps
from deeplab2_like.labels.layers import Layers
from deeplab2_like.labels.pixel_maps import Kind, PixelMap
from deeplab2_like.recipes.forms import class_file, label_images, pairing
from deeplab2_like.recipes.forms.label_images import Coding, LabelImages
from deeplab2_like.recipes.forms.pairing import INSTANCE, SEMANTIC, Pair
from deeplab2_like.recipes.forms.source import Request
from deeplab2_like.recipes.forms.tree import Tree

_IGNORED, _CROWD = 1, 2
_OPAQUE = 255
# Label images that are looked at.
_PROBES = 5


def recognize(tree: Tree, request: Request) -> LabelImages | None:
    """Returns the data set of a folder; None for another form.

    Args:
        tree: The files of the folder.
        request: What the user asked for.

    Raises:
        errors.DataError: See `label_images.recognize`.
    """
    if request.data.is_file():
        return None
    pairs = [
        dataclasses.replace(
            one,
            files={r: p for r, p in one.files.items() if r != INSTANCE},
        )
        for one in pairing.pair(tree, request)
        if {*one.paths} != {INSTANCE}
    ]
    labeled = [one for one in pairs if SEMANTIC in one.paths]
    if not any(map(label_images.is_labeled, pairs)) or not _is_coded(labeled):
        return None
    named = None
    if request.reading.classes is not None:
        named = class_file.load(request.reading.classes)
    return label_images.make_source(
        "RGBA bitmasks (class, attributes, two bytes of the object)",
        pairs,
        request,
        named,
        coding=Coding(_load_maps, _mark, void=0, numbers_stuff=True),
    )


def _is_coded(pairs: Sequence[Pair]) -> bool:
    """Returns whether label images use their fourth channel."""
    for one in pairs[:: max(1, len(pairs) // _PROBES)]:
        try:
            pixels = pixel_maps.load(one.paths[SEMANTIC])
        except errors.DataError:
            continue
        if pixels.kind is not Kind.FOUR_CHANNELS:
            return False
        if (pixels.values >> 24 != _OPAQUE).any():
            return True
    return False


def _load(one: Pair) -> PixelMap:
    path = one.paths[SEMANTIC]
    pixels = pixel_maps.load(path)
    if pixels.kind is not Kind.FOUR_CHANNELS:
        raise errors.DataError(
            f"The label {path} has {pixels.kind.value}, but others have four "
            "channels. Write all in one form."
        )
    return pixels


def _load_maps(one: Pair) -> tuple[PixelMap | None, PixelMap | None]:
    values = _load(one).values
    classes = values & 255
    numbers = (values >> 16 & 255) << 8 | values >> 24
    instances = np.where(classes > 0, numbers + 1, 0)
    return PixelMap(instances, Kind.GREY), PixelMap(classes, Kind.GREY)


def _mark(one: Pair, layers: Layers) -> None:
    """Marks crowds, and pixels that are not scored."""
    attributes = _load(one).values >> 8 & 255
    layers.classes[attributes & _IGNORED > 0] = layers_lib.VOID
    layers.crowds[attributes & _CROWD > 0] = True
