# SPDX-License-Identifier: Apache-2.0
"""Place-holders: ${NAME} inside a text value, filled from the environment.

deeplab2's own configs have ${EXPERIMENT_NAME}, ${INIT_CHECKPOINT}, ${TRAIN_SET}
and ${VAL_SET}, which its users replace by hand.
"""

import re
from collections.abc import Mapping

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from deeplab2_like.config.report import assign, iterate_fields

_PLACEHOLDER = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def find(text: str) -> list[str]:
    """Lists the names of the place-holders in a text."""
    return _PLACEHOLDER.findall(text)


def fill(message: Message, values: Mapping[str, str]) -> dict[str, list[str]]:
    """Fills place-holders in all text values of a message, in place.

    Args:
        message: Any message; is changed.
        values: Text by name, usually the environment.

    Returns:
        The names that `values` lacks by field path; these stay as they are.
    """
    unfilled: dict[str, list[str]] = {}
    for path, holder, field, value in iterate_fields(message):
        if field.type != FieldDescriptor.TYPE_STRING or "${" not in value:
            continue
        filled = _PLACEHOLDER.sub(
            lambda match: values.get(match[1], match[0]), value
        )
        assign(path, holder, field, filled)
        missing = [name for name in find(value) if name not in values]
        if missing:
            unfilled[path] = missing
    return unfilled


def describe_fix(names: list[str], path: str) -> str:
    """Describes how to fill the place-holders of a field."""
    variables = " and ".join(names)
    return (
        f"Set {variables}, or replace the field: "
        f"--config_override='{as_fragment(path)}'."
    )


def as_fragment(path: str, value: str = '"..."') -> str:
    """Returns a field path as a text format fragment."""
    parts = re.sub(r"\[\d+\]", "", path).split(".")
    text = f"{parts[-1]}: {value}"
    for part in reversed(parts[:-1]):
        text = f"{part} {{ {text} }}"
    return text
