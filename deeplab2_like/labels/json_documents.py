# SPDX-License-Identifier: Apache-2.0
"""Loads JSON files that other tools wrote; damage is named with its place."""

import json
import os
from typing import Any

from deeplab2_like import errors
from deeplab2_like.labels import json_values
from deeplab2_like.storage import any_files

# How files of other kinds begin.
_MAGIC = {
    ", but compressed by gzip: unpack it": b"\x1f\x8b",
    ", but a ZIP archive: unpack it": b"PK\x03\x04",
}


def load(
    path: str | os.PathLike[str], kind: str = "JSON", layout: str = ""
) -> Any:
    """Loads a JSON file in UTF-8, UTF-16 or UTF-32.

    Args:
        path: The file, by its path or address.
        kind: What it should be, such as "COCO-panoptic JSON", for messages.
        layout: Sentence that says what such a file contains.

    Raises:
        DataError: The file is missing, not JSON, or an object in it has a key
            twice.
    """
    try:
        data = any_files.read_bytes(path)
    except FileNotFoundError as error:
        raise errors.DataError(
            f"{path} does not exist. Give the {kind} file."
        ) from error
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise errors.DataError(
            f"{path} cannot be read ({reason}). Give the {kind} file."
        ) from error
    try:
        text = data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as error:
        found = next((k for k, v in _MAGIC.items() if data.startswith(v)), "")
        raise errors.DataError(
            f"{path} is not a text file{found}. Give the {kind} file, in UTF-8."
        ) from error
    if not text.strip():
        raise errors.DataError(
            f"{path} is empty. Write or download the file again."
        )
    try:
        return json.loads(text, object_pairs_hook=refuse_repeated_keys)
    except json.JSONDecodeError as error:
        raise errors.DataError(
            f"{path}:{error.lineno}:{error.colno}: not JSON ({error.msg}). "
            f"{_explain_error(text, error)}"
        ) from error
    except RecursionError as error:
        raise errors.DataError(
            f"{path} has lists in lists to a depth that no {kind} has. {layout}"
        ) from error
    except ValueError as error:
        raise errors.DataError(f"{path}: {error}") from error


def _explain_error(text: str, error: json.JSONDecodeError) -> str:
    if text.lstrip().startswith("<"):
        return "It is a web page or XML: download the JSON file itself."
    if error.msg == "Extra data":
        return "Something follows the end of the JSON value: remove it."
    if error.pos >= len(text.rstrip()) or error.msg.startswith("Unterm"):
        return "The file is cut off: write or download it again."
    return "Correct this place, or write or download the file again."


def refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object of its keys and values, as `object_pairs_hook` of `json`.

    Args:
        pairs: Keys and values, in the order of the file.

    Raises:
        ValueError: A key occurs twice with different values.
    """
    entry = dict(pairs)
    if len(entry) < len(pairs):
        for key, value in pairs:
            if entry[key] != value:
                raise ValueError(
                    f"an object has the key {key!r} twice, with "
                    f"{json_values.describe(value)} and "
                    f"{json_values.describe(entry[key])}. Remove one."
                )
    return entry
