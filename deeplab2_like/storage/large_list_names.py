# SPDX-License-Identifier: Apache-2.0
"""Names of lists of large images in the place of file patterns."""

from collections.abc import Iterable

ENDING = ".large.json"


def is_list(pattern: str) -> bool:
    """Returns whether a file pattern names lists of large images."""
    return pattern.endswith(ENDING)


def names_lists(patterns: Iterable[str]) -> bool:
    """Returns whether file patterns name lists of large images.

    What checks a config refuses those of which only some do.
    """
    return any(map(is_list, patterns))
