# SPDX-License-Identifier: Apache-2.0
"""Lists of large images and their label maps: files that end in .large.json."""

import dataclasses
import os
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.data.records import paths
from deeplab2_like.labels import json_documents, json_values
from deeplab2_like.storage import any_files, large_list_names

_KIND = "list of large images"
_LAYOUT = (
    'A list of large images is an object with `images`: [{"image": "a.tif", '
    '"labels": "a.labels.tif"}, ...]; each may have `segments` (the table of '
    "its labels), `channels` and `value_range`."
)
_KEYS = ("image", "labels", "segments", "channels", "value_range")
_RANGE = 2
_NUMBERS_OF_CHANNELS = (1, 3)


@dataclasses.dataclass(frozen=True)
class LargeEntry:
    """A large image of a list.

    Attributes:
        image: Path of the image.
        labels: Path of its label map; "" where none is named.
        segments: Path of the table of its labels, with the category of each.
            "": labels are class * label_divisor + instance.
        channels: See `rasters.opening.open_large`.
        value_range: See `rasters.opening.open_large`.
    """

    image: str
    labels: str = ""
    segments: str = ""
    channels: tuple[int, ...] | None = None
    value_range: tuple[float, float] | None = None


def find_lists(patterns: Sequence[str]) -> list[str]:
    """Finds the files of lists.

    Args:
        patterns: Paths, addresses or patterns of them that end in .large.json.

    Raises:
        DataError: A pattern matches nothing, or is of records.
    """
    found: dict[str, None] = {}
    for pattern in patterns:
        if not large_list_names.is_list(pattern):
            raise errors.DataError(
                f"File pattern {pattern!r} is of records, and others are lists "
                f"of large images ({large_list_names.ENDING}). Give one kind."
            )
        try:
            matches = any_files.find_files(pattern)
        except OSError as error:
            raise errors.DataError(
                f"File pattern {pattern!r} cannot be looked up: "
                f"{error.strerror}."
            ) from error
        if not matches:
            raise errors.DataError(
                f"File pattern {pattern!r} matches no file. Correct it, or "
                f"write the list first. {_LAYOUT}"
            )
        found |= dict.fromkeys(matches)
    return list(found)


def check_inputs(patterns: Sequence[str]) -> None:
    """Checks that the files of a split exist, records or lists.

    Args:
        patterns: Patterns of record files, or of lists.

    Raises:
        DataError: See `load` and `records.paths.find_files`.
    """
    if large_list_names.names_lists(patterns):
        load(patterns)
    else:
        paths.find_files(patterns)


def load(patterns: Sequence[str]) -> list[LargeEntry]:
    """Loads the entries of lists, in their order.

    Args:
        patterns: See `find_lists`. Paths in a list that are relative are below
            the folder of the list.

    Raises:
        DataError: A list is missing, empty, or has other entries.
    """
    entries: list[LargeEntry] = []
    for path in find_lists(patterns):
        content = json_documents.load(path, _KIND, _LAYOUT)
        images = content.get("images") if isinstance(content, dict) else None
        if not isinstance(images, list) or not images:
            raise errors.DataError(f"{path} lists no images. {_LAYOUT}")
        entries += [
            _read_entry(path, f"images[{number}]", entry)
            for number, entry in enumerate(images)
        ]
    return entries


def _read_entry(path: str, where: str, entry: Any) -> LargeEntry:
    if not isinstance(entry, Mapping) or not entry.get("image"):
        raise errors.DataError(
            f"{path}: {where} is {json_values.describe(entry)} without an "
            f"image. {_LAYOUT}"
        )
    unknown = [key for key in entry if key not in _KEYS]
    if unknown:
        raise errors.DataError(
            f"{path}: {where} has {unknown[0]!r}. Known are {', '.join(_KEYS)}."
        )
    found = {}
    for key in ("image", "labels", "segments"):
        value = entry.get(key, "")
        if not isinstance(value, str):
            raise errors.DataError(
                f"{path}: {where}.{key} is {json_values.describe(value)}. It "
                "must be a path."
            )
        if value and not any_files.is_remote(value):
            value = os.path.join(os.path.dirname(path), value)
        found[key] = value
    return LargeEntry(
        **found,
        channels=_read_channels(path, where, entry.get("channels")),
        value_range=_read_range(path, where, entry.get("value_range")),
    )


def _read_channels(path: str, where: str, value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    numbers = value if isinstance(value, list) else []
    is_right = len(numbers) in _NUMBERS_OF_CHANNELS and all(
        isinstance(one, int) and not isinstance(one, bool) and one >= 1
        for one in numbers
    )
    if not is_right:
        raise errors.DataError(
            f"{path}: {where}.channels is {json_values.describe(value)}. It "
            "must be a list of three numbers, or of one, from 1."
        )
    return tuple(value)


def _read_range(
    path: str, where: str, value: Any
) -> tuple[float, float] | None:
    if value is None:
        return None
    try:
        if not isinstance(value, list) or len(value) != _RANGE:
            raise ValueError(f"is {json_values.describe(value)}")
        low, high = map(json_values.read_number, value)
    except ValueError as error:
        raise errors.DataError(
            f"{path}: {where}.value_range is {json_values.describe(value)}. It "
            "must be two numbers, the values that become 0 and 255."
        ) from error
    if not low < high:
        raise errors.DataError(
            f"{path}: {where}.value_range is {value}. The lower one is first."
        )
    return low, high
