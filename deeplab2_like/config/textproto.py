# SPDX-License-Identifier: Apache-2.0
"""Parses protobuf text format and locates each field.

`google.protobuf.text_format` parses the text. The scanner here adds the line of
each field and finds every unknown field and wrong value, not only the first.
"""

import dataclasses
import re
import warnings
from collections.abc import Iterator
from typing import Any, TypeAlias

from google.protobuf import text_format, wrappers_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from deeplab2_like.config.problems import (
    InvalidConfigError,
    Location,
    Problem,
    describe_nearest,
)

# Descriptors of messages and fields. protobuf has two implementations of them,
# each with types of its own.
Descriptor: TypeAlias = Any
Field: TypeAlias = Any

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n\f\v]+|\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<word>[0-9.]+[eE]-[0-9]+f?|[A-Za-z0-9_.+]+)
    |(?P<sign>[-:{}<>\[\],;/])""",
    re.VERBOSE,
)
_CLOSING = {"{": "}", "<": ">"}
_INTEGER = re.compile(r"-?(0[xX][0-9a-fA-F]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(
    r"-?(([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?f?|inf(inity)?|nan)",
    re.IGNORECASE,
)
_INT_RANGES = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
}
_BOOLS = ("true", "True", "t", "1", "false", "False", "f", "0")
_KNOWN_FIELDS_SHOWN = 8
_NO_FIELD = re.compile(r'type "([\w.]+)" has no field named "([^"]*)"')


@dataclasses.dataclass
class Entry:
    """A field as it is written.

    Attributes:
        name: Name of the field.
        line: Line of the name, from 1.
        column: Column of the name, from 1.
        values: The text of a scalar, or the entries of a message; several when
            written as a list.
    """

    name: str
    line: int
    column: int
    values: list["str | list[Entry]"]


@dataclasses.dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int
    column: int


def is_repeated(field: Field) -> bool:
    """Returns whether a field is a list."""
    # protobuf 5 to 7 name it differently.
    repeated = getattr(field, "is_repeated", None)
    if repeated is None:
        return bool(field.label == FieldDescriptor.LABEL_REPEATED)
    return bool(repeated)


class ScanError(Exception):
    """The text is not text format; `text_format` reports the reason."""


def _tokenize(text: str) -> Iterator[_Token]:
    position, line, line_start = 0, 1, 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise ScanError
        kind = str(match.lastgroup)
        if kind != "space":
            column = position - line_start + 1
            yield _Token(kind, match.group(), line, column)
        newlines = match.group().count("\n")
        if newlines:
            line += newlines
            line_start = position + match.group().rindex("\n") + 1
        position = match.end()


class _Scanner:
    """Turns tokens into entries."""

    def __init__(self, text: str):
        """Splits a text into tokens.

        Args:
            text: Protobuf text format.
        """
        self._tokens = list(_tokenize(text))
        self._index = 0

    def peek(self) -> str:
        if self._index == len(self._tokens):
            return ""
        return self._tokens[self._index].text

    def take(self) -> _Token:
        if self._index == len(self._tokens):
            raise ScanError
        self._index += 1
        return self._tokens[self._index - 1]

    def entries(self, closing: str) -> list[Entry]:
        found = []
        while self.peek() != closing:
            name = self.take()
            if name.kind != "word":
                raise ScanError
            entry = Entry(name.text, name.line, name.column, [])
            has_colon = self.peek() == ":"
            if has_colon:
                self.take()
            if self.peek() == "[":
                self._fill_list(entry)
            else:
                entry.values.append(self._value(must_be_message=not has_colon))
            found.append(entry)
            if self.peek() in (",", ";"):
                self.take()
        if closing:
            self.take()
        return found

    def _fill_list(self, entry: Entry) -> None:
        self.take()
        while self.peek() != "]":
            entry.values.append(self._value(must_be_message=False))
            if self.peek() == ",":
                self.take()
        self.take()

    def _value(self, must_be_message: bool) -> "str | list[Entry]":
        token = self.take()
        if token.text in _CLOSING:
            return self.entries(_CLOSING[token.text])
        if must_be_message:
            raise ScanError
        if token.kind == "string":
            text = token.text
            while self.peek()[:1] in ("'", '"') and self.peek():
                text += self.take().text
            return text
        sign = ""
        if token.text == "-":
            sign, token = "-", self.take()
        if token.kind != "word":
            raise ScanError
        return sign + token.text


def scan(text: str) -> list[Entry]:
    """Splits a text into entries without knowing the schema.

    Raises:
        ScanError: The text is not text format.
    """
    return _Scanner(text).entries("")


def locate(
    entries: list[Entry], descriptor: Descriptor, source: str, prefix: str = ""
) -> dict[str, Location]:
    """Returns the place of each field path that the entries set."""
    places: dict[str, Location] = {}
    counts: dict[str, int] = {}
    for entry in entries:
        field = descriptor.fields_by_name.get(entry.name)
        if field is None:
            continue
        path = prefix + entry.name
        location = Location(source, entry.line)
        places.setdefault(path, location)
        for value in entry.values:
            item = path
            if is_repeated(field):
                item = f"{path}[{counts.get(path, 0)}]"
                counts[path] = counts.get(path, 0) + 1
                places[item] = location
            if isinstance(value, list) and field.message_type is not None:
                inner = locate(value, field.message_type, source, f"{item}.")
                places.update(inner)
    return places


def check(
    entries: list[Entry], descriptor: Descriptor, prefix: str = ""
) -> list[Problem]:
    """Lists all unknown fields and values of the wrong type."""
    problems = []
    counts: dict[str, int] = {}
    for entry in entries:
        field = descriptor.fields_by_name.get(entry.name)
        if field is None:
            path = prefix + entry.name
            problems.append(_unknown_field(entry, path, descriptor))
            continue
        for value in entry.values:
            path = prefix + entry.name
            if is_repeated(field):
                counts[path] = counts.get(path, -1) + 1
                path += f"[{counts[path]}]"
            if isinstance(value, list) and field.message_type is not None:
                problems += check(value, field.message_type, f"{path}.")
                continue
            problem = _check_value(value, field, path)
            if problem is not None:
                location = Location("", entry.line, entry.column)
                problems.append(problem.at(location))
    return problems


def _unknown_field(entry: Entry, path: str, descriptor: Descriptor) -> Problem:
    known = list(descriptor.fields_by_name)
    nearest = describe_nearest(entry.name, known, _KNOWN_FIELDS_SHOWN)
    return Problem(
        path,
        "",
        f"{path} is an unknown field; {descriptor.name} has: {nearest}",
        "Correct the name or remove the field.",
        entry.line,
        column=entry.column,
    )


def describe_type(field: Field) -> str:
    """Describes the type of a field for messages."""
    if field.enum_type is not None:
        return " or ".join(field.enum_type.values_by_name)
    if field.message_type is not None:
        return str(field.message_type.name)
    return {
        FieldDescriptor.TYPE_BOOL: "true or false",
        FieldDescriptor.TYPE_FLOAT: "a number",
        FieldDescriptor.TYPE_INT32: "an integer",
        FieldDescriptor.TYPE_INT64: "an integer",
        FieldDescriptor.TYPE_STRING: "a text in quotes",
    }[field.type]


def _check_value(
    value: "str | list[Entry]", field: Field, path: str
) -> Problem | None:
    if isinstance(value, list):
        rule = f"{path} is a value ({describe_type(field)}), not a message"
        return Problem(path, "", rule, f"Write {field.name}: VALUE.")
    if field.message_type is not None:
        rule = f"{path} is a message ({field.message_type.name}), not a value"
        return Problem(path, "", rule, f"Write {field.name} {{ ... }}.")
    if field.enum_type is not None:
        numbers = map(str, field.enum_type.values_by_number)
        good = value in {*field.enum_type.values_by_name, *numbers}
    elif field.type == FieldDescriptor.TYPE_STRING:
        good = value[:1] in ("'", '"')
    elif field.type == FieldDescriptor.TYPE_BOOL:
        good = value in _BOOLS
    elif field.type == FieldDescriptor.TYPE_FLOAT:
        good = _FLOAT.fullmatch(value) is not None
    else:
        good = _fits_integer(value, field)
    if good:
        return None
    fix = "Correct the value."
    if field.type == FieldDescriptor.TYPE_STRING:
        fix = f'Write {field.name}: "{value}".'
    elif field.enum_type is not None and value[:1] in ("'", '"'):
        fix = "Write the name without quotes."
    return Problem(path, value, f"it must be {describe_type(field)}", fix)


def _fits_integer(value: str, field: Field) -> bool:
    if _INTEGER.fullmatch(value) is None:
        return False
    digits = value.lstrip("-")
    octal = digits[:1] == "0" and digits.isdigit()
    number = int(digits, 8 if octal else 0) * (-1 if value[0] == "-" else 1)
    low, high = _INT_RANGES[field.type]
    return low <= number <= high


def quote(text: str) -> str:
    """Writes a text value in text format, as `parse` reads it.

    Args:
        text: Any text. Halves of characters (surrogates), which UTF-8 does not
            have, become question marks.
    """
    content = text.encode("utf-8", "replace").decode("utf-8")
    field = text_format.MessageToString(
        wrappers_pb2.StringValue(value=content), as_utf8=True, as_one_line=True
    )
    return field.strip().removeprefix("value: ") or '""'


def parse(
    text: str, message: Message, source: str
) -> tuple[dict[str, Location], list[Entry]]:
    """Parses a text into an empty message.

    Args:
        text: Protobuf text format.
        message: Empty message; is filled.
        source: Path or flag of the text, for messages.

    Returns:
        The place of each field path that the text sets, and its entries.

    Raises:
        InvalidConfigError: The text does not parse; `problems` lists every
            unknown field and wrong value, or the place where it is not text
            format.
    """
    try:
        with warnings.catch_warnings():
            # An unknown escape in a string is a warning of Python's decoder.
            warnings.simplefilter("ignore", DeprecationWarning)
            text_format.Parse(text, message)
    except text_format.ParseError as error:
        raise InvalidConfigError(
            _explain(text, message, source, error)
        ) from None
    except (ValueError, OverflowError, RecursionError) as error:
        problem = Problem("", "", f"The text cannot be parsed: {error}")
        raise InvalidConfigError([problem.at(Location(source))]) from None
    try:
        entries = scan(text)
    except (ScanError, RecursionError):  # Legal, but not for the scanner.
        return {}, []
    return locate(entries, message.DESCRIPTOR, source), entries


def _explain(
    text: str, message: Message, source: str, error: text_format.ParseError
) -> list[Problem]:
    try:
        problems = check(scan(text), message.DESCRIPTOR)
    except (ScanError, RecursionError):
        problems = []
    if problems:
        return [
            problem.at(Location(source, problem.line, problem.column))
            for problem in problems
        ]
    what = re.sub(r"^\d+:\d+ : ", "", str(error)).strip().rstrip(".")
    location = Location(source, error.GetLine() or 0, error.GetColumn() or 0)
    unknown = _NO_FIELD.search(what)
    if unknown is not None:
        holder = _find_message(message.DESCRIPTOR, unknown[1])
        entry = Entry(unknown[2], location.line, location.column, [])
        if holder is not None:
            return [_unknown_field(entry, entry.name, holder).at(location)]
    what = what.replace("deeplab2_like.", "").removeprefix("'': ")
    what = what.replace("but found: ''", "but the text ends")
    fix = "Look for a missing quote, colon or brace here or above."
    return [Problem("", "", f"syntax error: {what}", fix).at(location)]


def _find_message(descriptor: Descriptor, full_name: str) -> Descriptor | None:
    """Finds a message type among those that `descriptor` is made of."""
    if descriptor.full_name == full_name:
        return descriptor
    for field in descriptor.fields:
        if field.message_type is not None:
            found = _find_message(field.message_type, full_name)
            if found is not None:
                return found
    return None
