# SPDX-License-Identifier: Apache-2.0
"""What the numbers and colors of label images mean."""

import dataclasses
import pathlib
from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import json_values, label_map, pixel_maps
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels.coco_json import Category
from deeplab2_like.labels.pixel_maps import Kind
from deeplab2_like.recipes.forms import class_file, label_scan
from deeplab2_like.recipes.forms.class_file import NamedClass
from deeplab2_like.recipes.forms.label_scan import LabelScan
from deeplab2_like.recipes.forms.reading import ALL, Reading

# Grey values without a name that have no class: unlabeled, and what most tools
# write for "ignore".
_VOID_VALUES = (0, 255)
_OBJECT = "object"
_UNKNOWN = -2
_MAX_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Naming:
    """What the numbers of label images mean.

    Attributes:
        categories: The classes; `id` is their number, or their place where
            they have colors.
        index_of_number: Index of the class of each number or encoded color,
            `layers.VOID` for those without one.
        by_color: Whether numbers are encoded colors.
        source: Path of the file or folder that names them.
        notes: Sentences that say what the user should check.
    """

    categories: Sequence[Category]
    index_of_number: dict[int, int]
    by_color: bool
    source: str
    notes: Sequence[str] = ()


def name_objects(reading: Reading, source: str) -> Naming:
    """Names the classes where there are only instances.

    Args:
        reading: What the user says.
        source: The folder.
    """
    name = _OBJECT
    if reading.things and len(reading.things) == 1 and reading.things != (ALL,):
        name = reading.things[0]
    background = reading.background
    if not reading.fills_background:
        return Naming(
            [Category(1, name)], {0: layers_lib.VOID, 1: 0}, False, source
        )
    return Naming(
        [Category(0, background), Category(1, name)],
        {0: 0, 1: 1},
        False,
        source,
    )


def use_names(
    named: Sequence[NamedClass], scans: Iterable[LabelScan], source: str
) -> Naming:
    """Takes the classes of a file.

    Args:
        named: The classes, one or more.
        scans: What the label images contain.
        source: Path of the file.
    """
    categories: list[Category] = []
    numbers: dict[int, int] = {}
    voids = []
    ordered = sorted(
        enumerate(named),
        key=lambda item: item[0] if item[1].number is None else item[1].number,
    )
    for place, one in ordered:
        number = place if one.number is None else one.number
        key = (
            number if one.color is None else pixel_maps.encode_color(one.color)
        )
        if class_file.is_void(one.name):
            numbers[key] = layers_lib.VOID
            voids.append(one.name)
            continue
        numbers[key] = len(categories)
        categories.append(Category(number, one.name, color=one.color))
    notes = []
    by_color = named[0].color is not None
    if voids:
        notes.append(f"Not scored: {json_values.summarize(voids)}.")
    present = {number for scan in scans for number in scan.numbers}
    for value in () if by_color else _VOID_VALUES:
        if value not in numbers:
            numbers[value] = layers_lib.VOID
            if value in present:
                notes.append(
                    f"Pixels of the number {value}, which {source} does not "
                    "name, are not scored."
                )
    return Naming(categories, numbers, by_color, source, notes)


def name_numbers(
    scans: Sequence[LabelScan], source: str, void: int = 255
) -> Naming:
    """Names classes by their numbers.

    Args:
        scans: What the label images contain.
        source: Their folder.
        void: Number that is no class, unless it is the only one besides 0.

    Raises:
        errors.DataError: They have colors, or far too many numbers.
    """
    numbers = sorted({number for scan in scans for number in scan.numbers})
    if any(scan.kind in (Kind.COLOR, Kind.FOUR_CHANNELS) for scan in scans):
        colors = [pixel_maps.decode_color(number) for number in numbers]
        raise errors.DataError(
            f"The label images of {source} have {len(colors)} colors, and "
            "which class each is is not known: "
            f"{json_values.summarize(colors, 8)}. Name them in a file, a line "
            "'NAME: R, G, B' for each, and give it as --classes."
        )
    if len(numbers) > _MAX_CLASSES:
        raise errors.DataError(
            f"The label images of {source} have {len(numbers)} numbers, more "
            "than classes are likely. If they are numbers of objects, give "
            "their folder as --instance_dir; otherwise name the classes in a "
            "file, a line 'NUMBER: NAME' for each, and give it as --classes."
        )
    no_class = void
    if void and {*numbers} <= {0, void}:
        void = -1
    table = {
        number: index
        for index, number in enumerate(n for n in numbers if n != void)
    }
    notes = [
        f"The classes have no names but their numbers, {len(table)} in all. "
        "Name them in a file, a line 'NUMBER: NAME' for each, and give it as "
        "--classes."
    ]
    if void in numbers:
        notes.append(f"Pixels of the number {void} are not scored.")
    categories = [Category(number, f"class {number}") for number in table]
    for value in {255, no_class}:
        table.setdefault(value, layers_lib.VOID)
    return Naming(categories, table, False, source, notes)


def find_things(
    naming: Naming, scans: Sequence[LabelScan], has_classes: bool
) -> list[bool | None]:
    """Finds which classes have instances.

    Args:
        naming: The classes.
        scans: What the label images contain.
        has_classes: Whether there are label images of classes.

    Returns:
        Whether each class is a thing; None for each where every pixel belongs
        to an instance, so that these are not only of things.
    """
    if not has_classes:
        return [*[False] * (len(naming.categories) - 1), True]
    if not any(scan.has_instances for scan in scans):
        return [False] * len(naming.categories)
    table = naming.index_of_number
    if label_scan.are_coded(scans):
        coded = {table.get(n) for scan in scans for n in scan.coded}
        return [index in coded for index in range(len(naming.categories))]
    found, rest = set(), set()
    for scan in scans:
        for number, count in scan.numbers.items():
            index = table.get(number, layers_lib.VOID)
            if count:
                found.add(index)
            if number in scan.without:
                rest.add(index)
    if not rest - {layers_lib.VOID} and len(found) > 1:
        return [None] * len(naming.categories)
    return [index in found for index in range(len(naming.categories))]


def find_indices(
    numbers: npt.NDArray[np.int64], naming: Naming, path: pathlib.Path
) -> npt.NDArray[np.int32]:
    """Finds the classes of numbers.

    Args:
        numbers: int64 [H, W], the number of each pixel.
        naming: What they mean.
        path: The label image, for messages.

    Returns:
        int32 [H, W], indices of classes, and `layers.VOID`.

    Raises:
        errors.DataError: A number has no meaning.
    """
    table = naming.index_of_number
    keys = sorted(table)
    classes = label_map.replace_values(
        numbers,
        np.array(keys, np.int64),
        np.array([table[number] for number in keys], np.int64),
        default=_UNKNOWN,
    )
    is_unknown = classes == _UNKNOWN
    if is_unknown.any():
        found = label_map.compute_segments(np.where(is_unknown, numbers, -1))
        values = found.ids[found.ids >= 0].tolist()
        what = "numbers"
        if naming.by_color:
            what = "colors"
            values = [pixel_maps.decode_color(value) for value in values]
        raise errors.DataError(
            f"The label {path} has the {what} "
            f"{json_values.summarize(values)} ({int(is_unknown.sum())} "
            f"pixels), which {naming.source} does not name. Name them in a "
            "file that you give as --classes, or correct the label."
        )
    return classes


def add_names(
    known: Sequence[Category],
    named: Sequence[NamedClass] | None,
    source: str,
) -> Naming:
    """Adds classes of label images to those of objects.

    A class of the same name is the same class. Without a file of classes,
    numbers are the ids of `known`.

    Args:
        known: The classes of objects, with names that differ.
        named: The classes of a file; None where there is none.
        source: Path of the file that names the numbers.
    """
    categories = {one.id: one for one in known}
    id_of_name = {one.name: one.id for one in known}
    ids: dict[int, int | None] = {}
    if named is None:
        ids = {one.id: one.id for one in known}
    for place, one in enumerate(named or ()):
        number = place if one.number is None else one.number
        key = (
            number if one.color is None else pixel_maps.encode_color(one.color)
        )
        if class_file.is_void(one.name):
            ids[key] = None
            continue
        if one.name not in id_of_name:
            free = number if number not in categories else max(categories) + 1
            categories[free] = Category(
                free, one.name, is_thing=False, color=one.color
            )
            id_of_name[one.name] = free
        ids[key] = id_of_name[one.name]
    ordered = sorted(categories)
    by_color = bool(named) and named is not None and named[0].color is not None
    numbers = {
        key: layers_lib.VOID if one is None else ordered.index(one)
        for key, one in ids.items()
    }
    for value in () if by_color else _VOID_VALUES:
        numbers.setdefault(value, layers_lib.VOID)
    return Naming(
        [categories[key] for key in ordered], numbers, by_color, source
    )
