# SPDX-License-Identifier: Apache-2.0
"""Describes fields: their comments in the schema, types and defaults.

The comments are read from the *.proto files, which are installed with the
package.
"""

import dataclasses
import functools
import re
import textwrap
from collections.abc import Iterator

from google.protobuf.descriptor import FieldDescriptor

from deeplab2_like.config import paths, textproto
from deeplab2_like.config.problems import (
    InvalidConfigError,
    Problem,
    nearest_first,
)
from deeplab2_like.config.report import show
from deeplab2_like.config.rules import fields as field_rules
from deeplab2_like.config.rules import kinds
from deeplab2_like.protos import config_pb2

_ROOT = config_pb2.ExperimentOptions.DESCRIPTOR
_MESSAGE = re.compile(r"(message|enum|oneof) (\w+) \{")
_FIELD = re.compile(
    r"(?:optional |repeated |required )?[\w.]+ (\w+) = -?\d+|(\w+) = -?\d+;"
)
_WIDTH = 79


@dataclasses.dataclass(frozen=True)
class _Place:
    """A field and the message that holds it, at one path of a config."""

    path: str
    field: textproto.Field


def explain(name: str) -> str:
    """Describes a field, or every field of that name.

    Args:
        name: Path of a field ("evaluator_options.nms_kernel"), its last part
            ("nms_kernel"), or "" for the config as a whole.

    Returns:
        Lines for a terminal.

    Raises:
        InvalidConfigError: There is no such field; the text lists the nearest.
    """
    name = re.sub(r"\[\d*\]", "", name).strip().strip(".")
    if not name:
        return "\n".join(_list_fields(_ROOT))
    places = list(_walk(_ROOT, ""))
    found = [place for place in places if place.path == name]
    if not found:
        found = [p for p in places if p.path.endswith(f".{name}")]
    if not found:
        raise InvalidConfigError([_describe_unknown(name, places)])
    by_field: dict[str, list[_Place]] = {}
    for place in found:
        by_field.setdefault(place.field.full_name, []).append(place)
    texts = []
    for first, *others in by_field.values():
        also = [f"  also at: {place.path}" for place in others]
        texts.append("\n".join(_describe(first) + also))
    return "\n\n".join(texts)


def _describe_unknown(name: str, places: list[_Place]) -> Problem:
    last = name.split(".")[-1]
    known = nearest_first(last, {place.field.name for place in places})
    return Problem(
        "",
        "",
        f"There is no field {name}; nearest: {', '.join(known[:3])}",
        "Give a path such as evaluator_options.nms_kernel, or its last part.",
    )


def _walk(descriptor: textproto.Descriptor, prefix: str) -> Iterator[_Place]:
    for field in descriptor.fields:
        path = prefix + field.name
        yield _Place(path, field)
        key = f"{descriptor.name}.{field.name}"
        if (
            field.message_type is not None
            and key not in field_rules.REFUSED_MESSAGES
        ):
            yield from _walk(field.message_type, f"{path}.")


def _describe(place: _Place) -> list[str]:
    field = place.field
    key = f"{field.containing_type.name}.{field.name}"
    lines = [f"{place.path}: {_name_type(field)}"]
    comment = read_comments().get(key, "")
    lines += textwrap.wrap(
        comment, _WIDTH, initial_indent="  ", subsequent_indent="  "
    )
    if key in field_rules.REFUSED_MESSAGES:
        return lines
    if field.message_type is not None:
        return lines + _list_fields(field.message_type)
    lines.append(f"  default: {_show_default(field)}")
    if key in field_rules.SCALARS:
        lines.append(f"  allowed: {_describe_allowed(field, key)}")
    return lines


def _describe_allowed(field: textproto.Field, key: str) -> str:
    if field.enum_type is not None:
        return textproto.describe_type(field)
    rule = field_rules.SCALARS[key]
    if isinstance(rule, kinds.Free):
        return f"any value ({textproto.describe_type(field)})"
    return rule.describe()


def _name_type(field: textproto.Field) -> str:
    if field.message_type is not None:
        name = str(field.message_type.name)
    elif field.enum_type is not None:
        name = str(field.enum_type.name)
    else:
        name = {
            FieldDescriptor.TYPE_BOOL: "bool",
            FieldDescriptor.TYPE_FLOAT: "float",
            FieldDescriptor.TYPE_INT32: "int32",
            FieldDescriptor.TYPE_STRING: "string",
        }[field.type]
    return f"list of {name}" if textproto.is_repeated(field) else name


def _show_default(field: textproto.Field) -> str:
    if textproto.is_repeated(field):
        return "[]"
    if not field.has_default_value:
        return "not set"
    if field.enum_type is not None:
        values = field.enum_type.values_by_number
        return str(values[field.default_value].name)
    return show(field.default_value) or '""'


def _list_fields(descriptor: textproto.Descriptor) -> list[str]:
    lines = []
    for field in descriptor.fields:
        default = ""
        if field.message_type is None:
            default = f" = {_show_default(field)}"
        lines.append(f"  {field.name}: {_name_type(field)}{default}")
    return lines


@functools.cache
def read_comments() -> dict[str, str]:
    """Reads the comments of the schema.

    Returns:
        Comment above each "Message.field" and "Message", as one line; empty
        when the *.proto files are not installed.
    """
    comments: dict[str, str] = {}
    for folder in paths.schema_folders()[:1]:
        for file in sorted(folder.glob("*.proto")):
            comments.update(_parse_comments(file.read_text("utf-8")))
    return comments


def _parse_comments(text: str) -> dict[str, str]:
    comments: dict[str, str] = {}
    stack: list[str] = []
    pending: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if line.startswith("//"):
            pending.append(line.removeprefix("//").strip())
            continue
        message = _MESSAGE.match(line)
        if message is not None:
            kind, name = message.groups()
            # The fields of a oneof belong to the message around it.
            stack.append(stack[-1] if kind == "oneof" else name)
            comments.setdefault(name, " ".join(pending))
        elif line == "}":
            stack.pop()
        elif stack and (field := _FIELD.match(line)):
            name = field[1] or field[2]
            comments[f"{stack[-1]}.{name}"] = " ".join(pending)
        pending = []
    return comments
