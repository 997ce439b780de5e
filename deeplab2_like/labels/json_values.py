# SPDX-License-Identifier: Apache-2.0
"""Reads single values of JSON files that other tools wrote.

Each function returns the value where its meaning is certain and raises
`ValueError` otherwise, with the rest of a sentence: "is '3x' (text). It must be
an integer." `read_colors` returns such errors, because colors may be left out.
"""

import collections
import contextlib
import math
import posixpath
import re
import reprlib
from collections.abc import Iterable, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

from PIL import ImageColor

Color: TypeAlias = tuple[int, int, int]

# The counts are limited, so that a text of a million digits is refused at once.
_NUMBER = re.compile(
    r"[-+]?([0-9]{1,400}(\.[0-9]{0,400})?|\.[0-9]{1,400})([eE][-+]?[0-9]{1,9})?"
)
_INTEGER = re.compile(r"[-+]?[0-9]{1,30}(\.0*)?")
_DIGITS = re.compile(r"[-+]?[0-9]{1,9}")
# Integers in floats are exact up to here.
_MAX_EXACT = 2**53
_FLAGS = {"0": False, "1": True, "false": False, "true": True}
_HEX_DIGITS = re.compile(r"[0-9a-fA-F]{6}")
_SEPARATORS = re.compile(r"[\s,]+")
_DRIVE = re.compile(r"[A-Za-z]:/")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_CHANNELS = 3
_MAX_BYTE = 255
_COLOR_FORMS = (
    "It must be [red, green, blue] of 0..255 or of 0..1, #rrggbb, or the name "
    "of a color."
)

_short = reprlib.Repr()
_short.maxstring = _short.maxother = _short.maxlong = 60
_short.maxdict = _short.maxlist = 4
_short.maxlevel = 2


def describe(value: Any) -> str:
    """Returns a JSON value, shortened, with its type, as text."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"{str(value).lower()} (true or false)"
    if isinstance(value, float) and not math.isfinite(value):
        return f"{value} (not a finite number)".replace("nan", "NaN")
    for kind, name in ((str, "text"), (list, "a list"), (dict, "an object")):
        if isinstance(value, kind):
            return f"{_short.repr(value)} ({name})"
    return f"{_short.repr(value)} (a number)"


def summarize(values: Iterable[Any], limit: int = 3) -> str:
    """Returns the first few values and how many more there are, as text."""
    values = list(values)
    shown = ", ".join(_short.repr(value) for value in values[:limit])
    more = len(values) - limit
    return f"{shown} and {more} more" if more > 0 else shown


def find_duplicates(values: Iterable[Any]) -> list[Any]:
    """Finds the values that occur more than once."""
    counts = collections.Counter(values)
    return [value for value, count in counts.items() if count > 1]


def read_integer(value: Any) -> int:
    """Reads an integer: 3, 3.0, "3" or "3.0"."""
    if isinstance(value, Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float) and value.is_integer():
        if abs(value) <= _MAX_EXACT:
            return int(value)
    elif isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        return int(value.strip().partition(".")[0])
    raise ValueError(f"is {describe(value)}. It must be an integer.")


def read_number(value: Any) -> float:
    """Reads a finite number, also one written as text."""
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):
            number = float(value)
    elif isinstance(value, str) and _NUMBER.fullmatch(value.strip()):
        number = float(value)
    if not abs(number) <= _MAX_EXACT:
        raise ValueError(
            f"is {describe(value)}. It must be a number, of at most 2**53."
        )
    return number


def read_area(value: Any) -> float | None:
    """Reads a number of pixels; null and NaN are None, "not given"."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    area = read_number(value)
    if area < 0:
        raise ValueError(f"is {describe(value)}. It must be 0 or more.")
    return area


def read_flag(value: Any) -> bool | None:
    """Reads a truth value: 0, 1, true, false, also as text; None for null."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in _FLAGS:
        return _FLAGS[value.strip().lower()]
    if isinstance(value, Real) and value in (0, 1):
        return bool(value)
    raise ValueError(
        f"is {describe(value)}. It must be 0 or 1, or true or false."
    )


def read_text(value: Any) -> str:
    """Reads a text that is not empty; an integer is its digits."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        with contextlib.suppress(ValueError):
            return str(read_integer(value))
    if not isinstance(value, str) or not value:
        what = "empty" if value == "" else describe(value)
        raise ValueError(f"is {what}. It must be a text.")
    if not _is_encodable(value):
        raise ValueError(
            f"is {describe(value)}, which has a half of a character (a "
            "surrogate). It must be a text."
        )
    return value


def read_image_id(value: Any) -> int | str:
    """Reads the id of an image: an integer, or a text, which remains one."""
    if isinstance(value, str):
        return read_text(value)
    try:
        return read_integer(value)
    except ValueError:
        raise ValueError(
            f"is {describe(value)}. It must be an integer or a text."
        ) from None


def read_file_name(value: Any) -> str:
    r"""Reads the path of a file below a folder, with "/" as separator.

    "sub\1.png", as Windows writes it, is "sub/1.png".
    """
    if not isinstance(value, str):
        raise ValueError(
            f"is {describe(value)}. It must be the name of a file, a text."
        )
    name = read_text(value).replace("\\", "/")
    if _ADDRESS.match(name):
        fault = "is an address"
    elif name.startswith("/") or _DRIVE.match(name):
        fault = "is an absolute path"
    elif ".." in name.split("/"):
        fault = "leads out of the folder"
    elif "\0" in name or posixpath.normpath(name) == ".":
        fault = "is not the name of a file"
    else:
        return posixpath.normpath(name)
    raise ValueError(
        f"is {describe(value)}, which {fault}. It must be the path of the file "
        "below its folder."
    )


def read_colors(
    values: Sequence[Any],
) -> list[Color | ValueError | None]:
    """Reads the colors of all categories of a file.

    They are read together, because [1, 0, 0] is red where other colors of the
    file have fractions of 1.

    Args:
        values: The value of each category; None where it has none.

    Returns:
        For each (red, green, blue) in 0..255; None where it has none; the
        error where the meaning is not certain.
    """
    split: list[list[Any] | ValueError | None] = []
    for value in values:
        try:
            split.append(_split_color(value))
        except ValueError as error:
            split.append(error)
    lists = [numbers for numbers in split if isinstance(numbers, list)]
    has_units = any(_has_fraction(numbers) for numbers in lists) and all(
        max(numbers) <= 1 for numbers in lists
    )
    colors: list[Color | ValueError | None] = []
    for value, numbers in zip(values, split, strict=True):
        if not isinstance(numbers, list):
            colors.append(numbers)
            continue
        try:
            colors.append(_scale_color(value, numbers, has_units))
        except ValueError as error:
            colors.append(error)
    return colors


def _is_encodable(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _split_color(value: Any) -> list[Any] | None:
    """Returns three numbers, floats where the file has a decimal point."""
    if isinstance(value, str) and value.strip():
        text = value.strip()
        parts = _SEPARATORS.split(text.strip("[()]").strip())
        if not all(_NUMBER.fullmatch(part) for part in parts):
            return _look_up_color(text)
        if len(parts) == 1:  # Six digits, such as 102030.
            return _look_up_color(text)
        value = parts
    if isinstance(value, dict) and {"r", "g", "b"} <= {*value}:
        value = [value[key] for key in "rgb"]
    if value is None or value in ("", []):
        return None
    if not isinstance(value, list) or len(value) not in (3, 4):
        raise _refuse_color(value)
    try:
        return [_read_channel(part) for part in value[:_CHANNELS]]
    except ValueError:
        raise _refuse_color(value) from None


def _look_up_color(text: str) -> list[Any]:
    """Reads "#rgb", "#rrggbb", "rgb(...)" or a name of CSS."""
    if _HEX_DIGITS.fullmatch(text):
        text = f"#{text}"
    try:
        return list(ImageColor.getrgb(text)[:_CHANNELS])
    except ValueError:
        raise _refuse_color(text) from None


def _read_channel(value: Any) -> float:
    if isinstance(value, str) and _DIGITS.fullmatch(value.strip()):
        return int(value)
    number = read_number(value)
    return value if type(value) is int else number


def _has_fraction(numbers: Sequence[float]) -> bool:
    return any(number != round(number) for number in numbers)


def _scale_color(value: Any, numbers: list[Any], has_units: bool) -> Color:
    low, high = min(numbers), max(numbers)
    if low < 0 or high > _MAX_BYTE:
        raise _refuse_color(value)
    scale = 1
    if high <= 1 and (has_units or _has_fraction(numbers)):
        scale = _MAX_BYTE
    elif high == 1 and any(isinstance(number, float) for number in numbers):
        # [1.0, 0.0, 0.0] is red or nearly black.
        raise _refuse_color(value)
    red, green, blue = (round(scale * number) for number in numbers)
    return red, green, blue


def _refuse_color(value: Any) -> ValueError:
    return ValueError(f"is {describe(value)}. {_COLOR_FORMS}")
