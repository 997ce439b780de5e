# SPDX-License-Identifier: Apache-2.0
"""Reads files that name classes: labelmap.txt of CVAT, and lists of names."""

import dataclasses
import pathlib
import re

from deeplab2_like import errors
from deeplab2_like.labels import coco_json, json_values

# Classes of these names are not scored.
VOID_NAMES = ("void", "unlabeled", "unlabelled", "ignore", "__ignore__")

_NUMBER = re.compile(r"[0-9]{1,8}")
_COLOR = re.compile(r"\(?\s*(\d{1,9})\s*,\s*(\d{1,9})\s*,\s*(\d{1,9})\s*\)?")
_FORMS = (
    "Lines are 'NUMBER: NAME', 'NAME: R, G, B' or 'NAME', all of one kind; "
    "those that begin with # are not read."
)


@dataclasses.dataclass(frozen=True)
class NamedClass:
    """A class of a file.

    Attributes:
        name: Its name.
        number: Its number in label images; that of its line, from 0, in a list
            of names; None where the file has colors.
        color: (R, G, B) in label images; None where the file has none.
    """

    name: str
    number: int | None = None
    color: json_values.Color | None = None


def is_void(name: str) -> bool:
    """Returns whether a class of this name stands for no class."""
    return name.strip().lower() in VOID_NAMES


def load(path: pathlib.Path) -> list[NamedClass]:
    """Loads a file.

    Args:
        path: The file, text in UTF-8.

    Returns:
        The classes in its order; one or more.

    Raises:
        errors.DataError: It cannot be read; the text names file and line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise errors.DataError(
            f"{path} cannot be read ({reason}). Give a file with the names of "
            f"the classes. {_FORMS}"
        ) from error
    classes: list[NamedClass] = []
    problems: list[str] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        try:
            classes.append(_read_line(line, len(classes)))
        except ValueError as error:
            problems.append(f"line {number} {error}")
    kinds = {(one.color is None) for one in classes}
    if not problems and len(kinds) > 1:
        problems.append(f"some lines have colors and others do not. {_FORMS}")
    if not classes and not problems:
        problems.append(f"it names no class. {_FORMS}")
    for what, values in (
        ("name", [one.name for one in classes]),
        ("number", [o.number for o in classes if o.number is not None]),
        ("color", [one.color for one in classes if one.color is not None]),
    ):
        twice = json_values.find_duplicates(values)
        if twice:
            problems.append(
                f"{len(twice)} classes have the {what} of another: "
                f"{json_values.summarize(twice)}."
            )
    coco_json.raise_problems(str(path), problems)
    return classes


def _read_line(line: str, place: int) -> NamedClass:
    first, _, behind = (part.strip() for part in line.partition(":"))
    rest = [part.strip() for part in behind.split(":")] if behind else []
    if not line.isprintable():
        raise ValueError(f"has characters that are not printed. {_FORMS}")
    if not rest:
        return NamedClass(first, place)
    if _NUMBER.fullmatch(first) and rest[0] and not _COLOR.fullmatch(rest[0]):
        return NamedClass(behind, int(first))
    match = _COLOR.fullmatch(rest[0])
    if not first or match is None:
        raise ValueError(f"is {line[:60]!r}. {_FORMS}")
    red, green, blue = (int(part) for part in match.groups())
    if max(red, green, blue) > 255:
        raise ValueError(f"has the color {rest[0]}. Colors are 0..255.")
    return NamedClass(first, color=(red, green, blue))
