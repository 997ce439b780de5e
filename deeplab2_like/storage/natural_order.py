# SPDX-License-Identifier: Apache-2.0
"""The order of names in which people count: frame2 before frame10."""

import re

_NUMBER = re.compile(r"(\d+)")


def key(name: str) -> tuple[tuple[str, int, str], ...]:
    """Returns a key by which names are sorted; capital letters do not count.

    Args:
        name: A name or path. Equal numbers are ordered by their text, and names
            that differ in capital letters only as they are stored.
    """
    parts = _NUMBER.split(name)
    numbers = [*parts[1::2], ""]
    pairs = zip(parts[::2], numbers, strict=True)
    return (
        *(
            (text.casefold(), int(number or -1), number)
            for text, number in pairs
        ),
        ("", -1, name),
    )
