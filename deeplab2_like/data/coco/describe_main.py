# SPDX-License-Identifier: Apache-2.0
"""Writes a data set descriptor to start from: `python data/describe_data.py`.

`describe_categories` reads the categories of a COCO-panoptic JSON file and
writes them as text format of `DatasetDescriptor`.
"""

import json
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import program
from deeplab2_like.data.coco import entries as coco_entries

_DIVISORS = (1000, 10_000, 100_000)
_IGNORE_LABELS = (255, 65_535)

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_JSON = flags.DEFINE_string(
    "json", None, "The COCO-panoptic JSON file.", flag_values=_FLAGS
)
_NAME = flags.DEFINE_string(
    "name",
    None,
    "Name of the data set; that of the JSON file by default.",
    flag_values=_FLAGS,
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "File to write, <name>.textproto; printed by default.",
    flag_values=_FLAGS,
)

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
# More than the instances of a class in an image ({most} in this file).
label_divisor: {divisor}
"""


def _count_most_instances(content: dict[str, Any]) -> int:
    """Counts the most segments of one category in one image."""
    most = 0
    for annotation in content.get("annotations", []):
        counts = Counter(
            segment.get("category_id")
            for segment in annotation.get("segments_info", [])
        )
        most = max([most, *counts.values()])
    return most


def _describe_category(category: dict[str, Any], path: str) -> str:
    for key in ("id", "name"):
        if key not in category:
            raise errors.DataError(
                f"{path!r} has a category without {key!r}: {category}. Each"
                " needs id, name and isthing."
            )
    fields = [f"name: {json.dumps(category['name'], ensure_ascii=False)}"]
    if category.get("isthing"):
        fields.append("is_thing: true")
    fields.append(f"category_id: {category['id']}")
    if category.get("color"):
        fields.append(f"color: {list(category['color'])}")
    return f"classes {{ {' '.join(fields)} }}"


def describe_categories(json_path: str, name: str) -> str:
    """Writes the descriptor of a data set that has a COCO-panoptic JSON file.

    Args:
        json_path: The file.
        name: Name of the data set.

    Returns:
        Text format of `DatasetDescriptor`: the categories by rising id are
        classes 0, 1 ...; a comment says what to check.

    Raises:
        errors.DataError: The file cannot be read, or has no categories.
    """
    content = coco_entries.load_json(json_path)
    categories = content["categories"]
    if not categories:
        raise errors.DataError(
            f"{json_path!r} has no categories. Add them: id, name, isthing."
        )
    most = _count_most_instances(content)
    header = _HEADER.format(
        source=os.path.basename(json_path),
        name=json.dumps(name),
        ignore_label=next(
            label for label in _IGNORE_LABELS if label >= len(categories)
        ),
        most=most,
        divisor=next(
            (divisor for divisor in _DIVISORS if divisor > 2 * most),
            _DIVISORS[-1],
        ),
    )
    lines = [
        _describe_category(category, json_path)
        for category in sorted(categories, key=lambda item: item.get("id", -1))
    ]
    if all("isthing" not in category for category in categories):
        header += "# The file does not say which classes are things.\n"
    return "\n".join([header, *lines, ""])


def _main(arguments: Sequence[str]) -> None:
    path = _JSON.value or (arguments[0] if len(arguments) == 1 else None)
    if not path:
        raise errors.ConfigError(
            "--json is missing. Give the COCO-panoptic JSON file of your data."
        )
    stem = os.path.splitext(os.path.basename(_OUTPUT.value or path))[0]
    text = describe_categories(path, _NAME.value or stem)
    if not _OUTPUT.value:
        print(text, end="")
        return
    if os.path.exists(_OUTPUT.value):
        raise errors.DataError(
            f"{_OUTPUT.value!r} exists already. Remove it, or choose another"
            " --output."
        )
    with open(_OUTPUT.value, "w", encoding="utf-8") as stream:
        stream.write(text)
    print(f"Check which classes are things in {_OUTPUT.value}.")


def cli() -> None:
    """Writes a data set descriptor."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
