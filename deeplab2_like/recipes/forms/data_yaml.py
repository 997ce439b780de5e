# SPDX-License-Identifier: Apache-2.0
"""Reads data.yaml of YOLO data sets: the part of YAML that these files use.

Read are texts, lists and tables of texts, in one line or in several lines with
the same indent. Whatever else a file contains is passed over.
"""

import dataclasses
import itertools
import pathlib
import re
from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.labels import json_values

_KEY = re.compile(r"(?P<key>[A-Za-z_]\w*)\s*:(?:\s+(?P<value>.*))?$")
_NUMBERED = re.compile(r"['\"]?(?P<number>\d{1,6})['\"]?\s*:\s+(?P<value>.+)$")
_SPLITS = ("train", "val", "valid", "test")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"(?:[^\"\\]|\\.)*\"")
_FORMS = "It must be a list, [car, tree], or a table, {0: car, 1: tree}."


@dataclasses.dataclass(frozen=True)
class DataYaml:
    """The content of a file.

    Attributes:
        path: The file.
        names: Names of the classes by number.
        root: `path` in it, or "".
        places: Folders or lists of images by split; "valid" is "val".
    """

    path: pathlib.Path
    names: dict[int, str]
    root: str
    places: dict[str, list[str]]


def load(path: pathlib.Path) -> DataYaml:
    """Loads a file.

    Args:
        path: The file.

    Raises:
        errors.DataError: It cannot be read, or does not name the classes; the
            text names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise errors.DataError(
            f"{path} cannot be read ({reason}). Give the data.yaml of the data."
        ) from error
    blocks = _find_blocks(text)
    if "names" not in blocks:
        raise errors.DataError(
            f"{path} has no `names`, the names of the classes. {_FORMS}"
        )
    line, lines = blocks["names"]
    try:
        names = _read_names(lines)
    except ValueError as error:
        raise errors.DataError(
            f"{path}:{line}: `names` {error} {_FORMS}"
        ) from error
    count = blocks.get("nc", (0, [""]))[1][0]
    if count.isdecimal() and int(count[:9]) != len(names):
        raise errors.DataError(
            f"{path}: `nc` is {count[:9]}, but `names` has {len(names)} "
            "classes. Correct one of them."
        )
    places = {
        "val" if split == "valid" else split: _read_list(blocks[split][1])
        for split in _SPLITS
        if split in blocks
    }
    root = _read_list(blocks.get("path", (0, [""]))[1])
    return DataYaml(path, names, root[0] if root else "", places)


def _find_blocks(text: str) -> dict[str, tuple[int, list[str]]]:
    """Returns the number of the line and the lines of each key."""
    blocks: dict[str, tuple[int, list[str]]] = {}
    current: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = _strip_comment(raw)
        if not line.strip():
            continue
        match = _KEY.match(line)
        if match:
            current = [(match["value"] or "").strip()]
            blocks[match["key"]] = (number, current)
        else:
            current.append(line.strip())
    return blocks


def _strip_comment(line: str) -> str:
    masked = _QUOTED.sub(lambda match: "x" * len(match[0]), line)
    place = re.search(r"(^|\s)#", masked)
    return line[: place.start()] if place else line


def _read_names(lines: Sequence[str]) -> dict[int, str]:
    first, *rest = lines
    pairs: list[tuple[int, str]] = []
    if first[:1] in ("[", "{") or not first:
        entries = rest
        if first:
            joined = " ".join(lines)
            if joined[-1] != {"[": "]", "{": "}"}[first[0]]:
                raise ValueError("does not end in the same way as it begins.")
            entries = _split(joined[1:-1])
        is_table = first[:1] == "{" or bool(
            not first and rest and not rest[0].startswith("-")
        )
        for place, entry in enumerate(entries):
            pairs.append(_read_entry(entry, place, is_table, bool(first)))
    numbers = [number for number, _ in pairs]
    names = [name for _, name in pairs]
    if not pairs or not all(names):
        raise ValueError("has no name, or an empty one.")
    twice = [
        *json_values.find_duplicates(numbers),
        *json_values.find_duplicates(names),
    ]
    if twice:
        raise ValueError(f"has {json_values.summarize(twice)} twice.")
    if not all(name.isprintable() for name in names):
        raise ValueError("has characters that are not printed.")
    return dict(sorted(pairs))


def _read_entry(
    entry: str, place: int, is_table: bool, is_flow: bool
) -> tuple[int, str]:
    if is_table:
        match = _NUMBERED.match(entry)
        if not match:
            raise ValueError(f"has {entry[:40]!r}, which is no number: name.")
        return int(match["number"]), _unquote(match["value"])
    if not is_flow:
        if not entry.startswith("-"):
            raise ValueError(f"has {entry[:40]!r} among lines with -.")
        entry = entry[1:]
    return place, _unquote(entry)


def _read_list(lines: Sequence[str]) -> list[str]:
    """Reads a text or a list of texts; what is something else is left out."""
    first, *rest = lines
    if first.startswith("["):
        return [_unquote(part) for part in _split(" ".join(lines).strip("[]"))]
    if first:
        return [_unquote(first)]
    return [_unquote(line[1:]) for line in rest if line.startswith("-")]


def _split(text: str) -> list[str]:
    """Splits a text at commas outside of quotes."""
    masked = _QUOTED.sub(lambda match: "x" * len(match[0]), text)
    places = [i for i, character in enumerate(masked) if character == ","]
    edges = [-1, *places, len(text)]
    parts = [
        text[start + 1 : end].strip()
        for start, end in itertools.pairwise(edges)
    ]
    return parts[:-1] if len(parts) > 1 and not parts[-1] else parts


def _unquote(text: str) -> str:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        return text[1:-1].replace("''", "'")
    if len(text) > 1 and text[0] == text[-1] == '"':
        return re.sub(r"\\(.)", r"\1", text[1:-1])
    return text
