# SPDX-License-Identifier: Apache-2.0
"""CVAT's export 'Segmentation mask': labelmap.txt and folders of PNGs.

SegmentationClass has a color for each class, SegmentationObject one for each
shape, also of stuff.
"""

import dataclasses
import pathlib
from collections.abc import Sequence

from deeplab2_like.recipes.forms import (
    class_file,
    label_images,
    own_labels,
    pairing,
    places,
)
from deeplab2_like.recipes.forms.class_file import NamedClass
from deeplab2_like.recipes.forms.label_images import Coding, LabelImages
from deeplab2_like.recipes.forms.pairing import IMAGE, SEMANTIC, Pair
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.source import Request
from deeplab2_like.recipes.forms.tree import Tree

_NAMES = "labelmap.txt"
_CLASSES = "SegmentationClass"
_LISTS = "ImageSets/Segmentation/"
# CVAT's name of pixels without a shape.
_BACKGROUND = "background"


def recognize(tree: Tree, request: Request) -> LabelImages | None:
    """Returns the data set of a folder; None for another form.

    Args:
        tree: The files of the folder.
        request: What the user asked for.

    Raises:
        errors.DataError: The images are missing, or the classes cannot be
            used.
    """
    if request.data.is_file():
        return None
    folders = [
        folder
        for folder in tree.find_folders(_NAMES)
        if any(path.startswith(_below(folder)) for path in tree.files)
    ]
    if not folders:
        return None
    path = tree.root / folders[0] / _NAMES
    if len(folders) > 1:
        raise own_labels.refuse(
            str(request.data),
            f"it holds {len(folders)} exports, in {' and '.join(folders[:4])}.",
            "Give the folder of one of them.",
        )
    named = class_file.load(path)
    pairs = pairing.pair(tree, request)
    if not any(map(label_images.is_labeled, pairs)):
        raise own_labels.refuse(
            str(path),
            "the images of the label images beside it are missing.",
            "Export with 'Save images', or give their folder with --image_dir.",
        )
    if request.reading.classes is not None:
        path = request.reading.classes
        named = class_file.load(path)
    return label_images.make_source(
        f"CVAT segmentation masks ({path})",
        _find_splits(pairs, tree),
        request,
        _name_background(named, request.reading),
        path,
        Coding(label_images.load_maps, numbers_stuff=True),
    )


def _below(folder: str) -> str:
    return f"{_CLASSES}/" if folder == "." else f"{folder}/{_CLASSES}/"


def _name_background(
    named: Sequence[NamedClass], reading: Reading
) -> list[NamedClass]:
    """Gives the background the name that the user wants."""
    return [
        dataclasses.replace(one, name=reading.background)
        if one.name == _BACKGROUND
        else one
        for one in named
    ]


def _find_splits(pairs: Sequence[Pair], tree: Tree) -> list[Pair]:
    """Finds the splits in lists such as ImageSets/Segmentation/train.txt."""
    splits: dict[str, str] = {}
    for path in tree.files:
        stem = pathlib.PurePosixPath(path).stem
        split = places.find_split(f"{stem}/")
        if _LISTS in path and split:
            try:
                text = (tree.root / path).read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError, ValueError):
                continue
            splits |= dict.fromkeys(text.split(), split)
    return [
        dataclasses.replace(one, split=splits.get(one.name, one.split))
        if IMAGE in one.paths and SEMANTIC in one.paths
        else one
        for one in pairs
    ]
