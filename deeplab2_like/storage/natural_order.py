# SPDX-License-Identifier: Apache-2.0
"""The order of names in which people count: frame2 before frame10."""

import re

_NUMBER = re.compile(r"(\d+)")


def key(name: str) -> tuple[tuple[str, int, str], ...]:
    """Returns a key by which names are sorted; capital letters do not count.

    Args:
        name: A name or path. Equal numbers are ordered by their text.
    """
    parts = _NUMBER.split(name)
    numbers = [*parts[1::2], ""]
    return tuple(
        (text.casefold(), int(number or -1), number)
        for text, number in zip(parts[::2], numbers, strict=True)
    )
