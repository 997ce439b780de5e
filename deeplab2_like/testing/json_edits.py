# SPDX-License-Identifier: Apache-2.0
"""Random edits of JSON, to test what reads it."""

import copy
import random
from collections.abc import Sequence
from typing import Any

Places = list[tuple[Any, Any]]


def list_places(content: Any) -> Places:
    """Lists the container and the key of each value in a value."""
    places: Places = []
    pairs = content.items() if isinstance(content, dict) else enumerate(content)
    for key, inner in pairs:
        places.append((content, key))
        if isinstance(inner, dict | list):
            places += list_places(inner)
    return places


def edit_value(content: Any, rng: random.Random, values: Sequence[Any]) -> None:
    """Edits one value at a random place.

    It is removed, wrapped, repeated, written as text, or replaced by another
    value of the content or by one of `values`.

    Args:
        content: A dictionary or a list, as `json.loads` returns it; changed.
        rng: Random numbers.
        values: What values are replaced by.
    """
    places = list_places(content)
    if not places:
        return
    container, key = rng.choice(places)
    value = container[key]
    kind = rng.randrange(8)
    if kind == 0:
        del container[key]
    elif kind == 1:
        container[key] = rng.choice([[value], {"a": value}, [[value], None]])
    elif kind == 2:
        other, place = rng.choice(places)
        container[key] = copy.deepcopy(other[place])
    elif kind == 3 and isinstance(container, list):
        container.insert(rng.randrange(len(container) + 1), value)
    elif kind == 4 and not isinstance(value, dict | list):
        container[key] = rng.choice([str(value), [value], f"{value}.0"])
    else:
        container[key] = copy.deepcopy(rng.choice(values))
