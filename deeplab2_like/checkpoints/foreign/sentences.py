# SPDX-License-Identifier: Apache-2.0
"""Sentences of the errors of all readers.

Names and numbers in a file may be anything: `shown` keeps them printable, short
and on one line.
"""

from typing import Any

from deeplab2_like import errors

_KINDS: dict[type, str] = {
    type(None): "nothing",
    bool: "a flag",
    int: "a number",
    float: "a number",
    str: "a text",
    bytes: "bytes",
    tuple: "a tuple",
    list: "a list",
    dict: "a dictionary",
}


def damaged(where: str, what: str) -> errors.CheckpointError:
    """Makes the error of a file that does not agree with its format.

    Args:
        where: Path of the file.
        what: What does not agree, a clause without a full stop.
    """
    return errors.CheckpointError(
        f"{where} is damaged or incomplete: {what}; copy or download it again."
    )


def refused(where: str, what: str, cure: str) -> errors.CheckpointError:
    """Makes the error of a file that may be in order but is not read.

    Args:
        where: Path of the file.
        what: What the file does or contains, a clause without a full stop.
        cure: What is allowed or can be done, likewise.
    """
    return errors.CheckpointError(f"{where} {what}: {cure}.")


def shown(value: Any, limit: int = 60) -> str:
    """Returns a value from a file as one printable line.

    Args:
        value: Any value.
        limit: Number of characters of a text that are shown.
    """
    if isinstance(value, str):
        return repr(value[:limit]) + ("..." if len(value) > limit else "")
    if isinstance(value, int) and abs(value) >= 2**64:
        return "a number of more than 64 bits"
    if value is None or isinstance(value, (bool, int, float)):
        return repr(value)
    return kind_of(value)


def kind_of(value: Any) -> str:
    """Returns the kind of a value from a file, such as "a list"."""
    for kind, text in _KINDS.items():
        if isinstance(value, kind):
            return text
    return "an object"
