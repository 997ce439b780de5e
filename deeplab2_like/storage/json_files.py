# SPDX-License-Identifier: Apache-2.0
"""Writes JSON that every reader accepts.

JSON has no NaN and no infinity, which Python writes all the same: both become
null here. All JSON of the package is written by this module.
"""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from deeplab2_like.storage import any_files, whole_files


def to_plain(value: Any) -> Any:
    """Returns a value of the types that JSON has.

    Args:
        value: Dictionaries, lists, tuples and sets of text, numbers, bool, None
            and paths; NumPy's arrays and numbers too. Keys become text.

    Returns:
        The same value; None for numbers that are not finite.

    Raises:
        TypeError: JSON cannot express a part of the value.
    """
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [to_plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "tolist"):  # NumPy's arrays and numbers.
        return to_plain(value.tolist())
    raise TypeError(f"JSON has no {type(value).__name__}: {value!r:.80}")


def to_line(value: Any) -> str:
    """Returns a value as JSON in one line; see `to_plain`."""
    return json.dumps(to_plain(value), allow_nan=False)


def plain_to_line(value: Any) -> str:
    """Returns a value as JSON in one line, without looking at its parts.

    For lists of millions of numbers, of which `to_plain` would look at each.

    Args:
        value: A value of the types that JSON has, without NaN and infinity.
    """
    return json.dumps(value, allow_nan=False, separators=(",", ":"))


def to_text(value: Any) -> str:
    """Returns a value as indented JSON, with lists of numbers in one line.

    Args:
        value: See `to_plain`.
    """
    return _format(to_plain(value), "") + "\n"


def write_json(path: str | os.PathLike[str], value: Any) -> None:
    """Writes a JSON file completely or not at all.

    Args:
        path: Path of the file; its folder is created if it does not exist.
        value: See `to_plain`.
    """
    folder = os.path.dirname(path)
    if folder:
        any_files.make_folder(folder)
    whole_files.write_text(path, to_text(value))


def _format(value: Any, indent: str) -> str:
    """Formats a value of JSON's types; nested parts get one more space."""
    inner = f"{indent} "
    if isinstance(value, dict) and value:
        lines = [
            f"{inner}{json.dumps(key)}: {_format(item, inner)}"
            for key, item in value.items()
        ]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    if isinstance(value, list) and any(
        isinstance(item, dict | list) for item in value
    ):
        lines = [inner + _format(item, inner) for item in value]
        return "[\n" + ",\n".join(lines) + f"\n{indent}]"
    return json.dumps(value, allow_nan=False)
