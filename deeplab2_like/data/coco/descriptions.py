# SPDX-License-Identifier: Apache-2.0
"""Writes the text of a data set descriptor from COCO-panoptic JSON files."""

import dataclasses
import os
from collections import Counter
from collections.abc import Iterable, Sequence

from deeplab2_like import errors
from deeplab2_like.config import textproto
from deeplab2_like.labels import coco_instances, coco_json, json_values

_DIVISORS = (1000, 10_000, 100_000, 1_000_000, 10_000_000)
_IGNORE_LABELS = (255, 65_535)
# Limits of descriptors.
_MAX_PANOPTIC_ID = 2**31 - 1
_MAX_CATEGORY_ID = 2**24 - 1
_MAX_DIVISOR = 2**24
_MAX_BYTES = 2**20

_HEADER = """\
# proto-file: deeplab2_like/protos/dataset_descriptor.proto
# proto-message: DatasetDescriptor
#
# Made from {source}.
# Check: which classes are things; then name this file in
# DatasetOptions.dataset of your config and in --dataset.

name: {name}
# Class of pixels that are not scored.
ignore_label: {ignore_label}
# More than the instances of a class in an image (at most {most} in the data).
label_divisor: {divisor}
"""


def _count_most_instances(contents: Sequence[coco_json.PanopticJson]) -> int:
    """Counts the most segments of one category in one image."""
    most = 0
    for content in contents:
        for annotation in content.annotations.values():
            counts = Counter(s.category_id for s in annotation.segments)
            most = max([most, *counts.values()])
    return most


def _choose_numbers(num_classes: int, most: int) -> tuple[int, int]:
    """Chooses ignore_label and label_divisor so that ids fit into int32."""
    # With room for images of more instances, if there is.
    roomy = [divisor for divisor in _DIVISORS if divisor > 2 * most]
    enough = [divisor for divisor in _DIVISORS if divisor > most]
    for divisor in (*roomy, *enough, max(most + 1, 2)):
        for ignore_label in (*_IGNORE_LABELS, num_classes):
            if (
                num_classes <= ignore_label <= _IGNORE_LABELS[-1]
                and divisor <= _MAX_DIVISOR
                and (ignore_label + 1) * divisor - 1 <= _MAX_PANOPTIC_ID
            ):
                return ignore_label, divisor
    raise errors.DataError(
        f"{num_classes} categories with up to {most} segments of one in an "
        f"image need ids above {_MAX_PANOPTIC_ID} (int32), or class indices "
        f"above {_IGNORE_LABELS[-1]}. Merge categories or split images."
    )


def order_categories(
    found: Iterable[coco_json.Category], source: str
) -> tuple[list[coco_json.Category], list[str]]:
    """Brings the classes of a data set in order, and checks them.

    Args:
        found: The classes.
        source: Path of the file or folder that has them, for messages.

    Returns:
        The classes by rising id, with names that differ: those that occur
        repeatedly got their id. And these names.

    Raises:
        errors.DataError: There is none, or one without a name or with an id
            that no descriptor can have.
    """
    categories = sorted(found, key=lambda one: one.id)
    if not categories:
        raise errors.DataError(
            f"{source!r} has no categories. Add them: id, name, isthing."
        )
    for category in categories:
        if not category.name:
            raise errors.DataError(
                f"{source!r} has a category without 'name': id {category.id}. "
                "Each needs id, name and isthing."
            )
        if not 0 <= category.id <= _MAX_CATEGORY_ID:
            raise errors.DataError(
                f"{source!r}: category "
                f"{json_values.summarize([category.name])} has the id "
                f"{json_values.describe(category.id)}. Ids of categories are "
                f"0..{_MAX_CATEGORY_ID}: number them anew, also in "
                "`annotations`."
            )
    names, twice = _name_uniquely(categories)
    return [
        dataclasses.replace(category, name=name)
        for category, name in zip(categories, names, strict=True)
    ], twice


def _name_uniquely(
    categories: Sequence[coco_json.Category],
) -> tuple[list[str], list[str]]:
    """Returns a name for each category, and those that occur repeatedly."""
    twice = json_values.find_duplicates(c.name for c in categories)
    taken = {c.name for c in categories}
    names = []
    for category in categories:
        name = category.name
        if name in twice:
            name = f"{name} ({category.id})"
            while name in taken:
                name += "'"
            taken.add(name)
        names.append(name)
    return names, twice


def _describe_category(category: coco_json.Category, name: str) -> str:
    fields = [f"name: {textproto.quote(name)}"]
    if category.is_thing:
        fields.append("is_thing: true")
    fields.append(f"category_id: {category.id}")
    if category.color:
        fields.append(f"color: {list(category.color)}")
    return f"classes {{ {' '.join(fields)} }}"


def _list_notes(
    categories: Sequence[coco_json.Category], twice: Sequence[str]
) -> list[str]:
    """Lists what is to be checked, a sentence each."""
    notes = []
    unknown = [c.name for c in categories if c.is_thing is None]
    if len(unknown) == len(categories):
        notes.append("The file does not say which classes are things.")
    elif unknown:
        notes.append(
            "The file does not say whether these classes are things, so they "
            f"are stuff here: {json_values.summarize(unknown, 8)}."
        )
    if twice:
        notes.append(
            "Several categories have the name "
            f"{json_values.summarize(twice, 8)}: their ids were added."
        )
    by_color: dict[json_values.Color, list[str]] = {}
    for category in categories:
        if category.color:
            by_color.setdefault(category.color, []).append(category.name)
    notes += [
        f"{json_values.summarize(names, 8)} have the same color {list(color)}, "
        "so pictures show all but the first in another one."
        for color, names in by_color.items()
        if len(names) > 1
    ]
    return notes


def check_same_categories(
    contents: Sequence[coco_json.PanopticJson | coco_instances.InstancesJson],
) -> None:
    """Checks that several files have the same categories.

    Args:
        contents: The files, one or more.

    Raises:
        errors.DataError: They differ.
    """

    def list_facts(
        content: coco_json.PanopticJson | coco_instances.InstancesJson,
    ) -> dict[int, object]:
        return {c.id: (c.name, c.is_thing) for c in content.categories.values()}

    first = contents[0]
    for other in contents[1:]:
        ours, theirs = list_facts(first), list_facts(other)
        differing = [
            key
            for key in sorted({*ours, *theirs})
            if ours.get(key) != theirs.get(key)
        ]
        if differing:
            raise errors.DataError(
                f"{str(first.path)!r} and {str(other.path)!r} have different "
                f"categories: id {json_values.summarize(differing)}. Splits of "
                "one data set need the same id, name and isthing."
            )


def describe_with_notes(
    json_path: str, name: str, *other_paths: str
) -> tuple[str, list[str]]:
    """Writes a descriptor as `describe_categories` does.

    Args:
        json_path: The file.
        name: Name of the data set.
        *other_paths: Files of other splits of the data set.

    Returns:
        The text, and the sentences of its comments that say what to check.

    Raises:
        errors.DataError: See `describe_categories`; or the files have
            different categories.
    """
    contents = [
        coco_json.load(path, ["categories"], ["annotations"])
        for path in (json_path, *other_paths)
    ]
    content = contents[0]
    categories, twice = order_categories(
        content.categories.values(), str(content.path)
    )
    check_same_categories(contents)
    most = _count_most_instances(contents)
    notes = [*_list_notes(categories, twice), *content.warnings]
    text = write_description(
        categories, name, most=most, source=json_path, notes=notes
    )
    return text, notes


def write_description(
    categories: Sequence[coco_json.Category],
    name: str,
    *,
    most: int,
    source: str,
    notes: Sequence[str] = (),
) -> str:
    """Writes the descriptor of a data set with these classes.

    Args:
        categories: The classes, in their order; names differ.
        name: Name of the data set.
        most: Most instances of a class in an image.
        source: Path of the file or folder that has the classes.
        notes: Sentences for the comments.

    Returns:
        Text format of `DatasetDescriptor`.

    Raises:
        errors.DataError: No descriptor can have as many classes or instances.
    """
    ignore_label, divisor = _choose_numbers(len(categories), most)
    origin = os.path.basename(source)
    header = _HEADER.format(
        source=origin if origin.isprintable() else repr(origin),
        name=textproto.quote(name),
        ignore_label=ignore_label,
        most=most,
        divisor=divisor,
    )
    header += "".join(f"# {note}\n" for note in notes)
    lines = [_describe_category(one, one.name) for one in categories]
    text = "\n".join([header, *lines, ""])
    if len(text.encode()) > _MAX_BYTES:
        raise errors.DataError(
            f"{source!r} has {len(categories)} categories, whose "
            f"description is larger than {_MAX_BYTES} bytes, the limit of "
            "descriptors. Shorten their names or merge categories."
        )
    return text


def describe_categories(json_path: str, name: str) -> str:
    """Writes the descriptor of a data set that has a COCO-panoptic JSON file.

    Args:
        json_path: The file.
        name: Name of the data set.

    Returns:
        Text format of `DatasetDescriptor`: the categories by rising id are
        classes 0, 1 ...; comments say what to check.

    Raises:
        errors.DataError: The file cannot be read, has no categories, or has
            some that no descriptor can have.
    """
    text, _ = describe_with_notes(json_path, name)
    return text
