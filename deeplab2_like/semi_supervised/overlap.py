# SPDX-License-Identifier: Apache-2.0
"""Finds images that are in two sets, by the content of their files."""

import hashlib
from collections.abc import Iterable


def find_duplicates(
    images: Iterable[tuple[str, bytes]], others: Iterable[tuple[str, bytes]]
) -> list[tuple[str, str]]:
    """Finds the images of one set that are in another one.

    Files are equal where their bytes are; the same picture saved again is
    another file. Only sizes and checksums of the second set are kept.

    Args:
        images: Name and content of the file of each image.
        others: The same of the other set.

    Returns:
        Name of the image, and its name in the other set, in the order of
        `images`.
    """
    known: dict[bytes, str] = {}
    sizes: set[int] = set()
    for name, content in others:
        known.setdefault(_compute_digest(content), name)
        sizes.add(len(content))
    found = []
    for name, content in images:
        if len(content) not in sizes:
            continue
        other = known.get(_compute_digest(content))
        if other is not None:
            found.append((name, other))
    return found


def _compute_digest(content: bytes) -> bytes:
    return hashlib.sha256(content).digest()
