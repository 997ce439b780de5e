# SPDX-License-Identifier: Apache-2.0
"""Finds names of images that make trouble: predictions are files of them."""

import unicodedata
from collections.abc import Sequence

_FORBIDDEN = set('<>:"|?*\\')
# Endings such as ".panoptic.png" are added, and file systems allow 255 bytes.
_MAX_BYTES = 200
_RESERVED = {"con", "prn", "aux", "nul"} | {
    f"{word}{number}" for word in ("com", "lpt") for number in range(1, 10)
}


def find_trouble(name: str) -> str:
    """Returns what is wrong with a name, "" if nothing is.

    Args:
        name: Name of an image, with "/" between folders.
    """
    if not name.strip("/"):
        return "is empty"
    parts = name.split("/")
    if name.startswith("/") or ".." in parts:
        return "leads out of the folder of the predictions"
    if not name.isprintable():
        return "has characters that cannot be printed"
    if any(part != part.strip() for part in parts):
        return "begins or ends with a space"
    wrong = sorted(_FORBIDDEN.intersection(name))
    if wrong:
        return f"has {' '.join(wrong)}, which Windows does not allow"
    if any(part.split(".")[0].lower() in _RESERVED for part in parts):
        return "is reserved on Windows"
    if max(len(part.encode()) for part in parts) > _MAX_BYTES:
        return f"is longer than {_MAX_BYTES} bytes"
    if unicodedata.normalize("NFC", name) != name:
        return "has letters and accents apart (Unicode NFD), as macOS had them"
    return ""


def find_alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Finds names that differ only in capital letters.

    Args:
        names: Names that differ.

    Returns:
        Pairs, the earlier name first.
    """
    first: dict[str, str] = {}
    pairs = []
    for name in names:
        other = first.setdefault(name.casefold(), name)
        if other != name:
            pairs.append((other, name))
    return pairs
