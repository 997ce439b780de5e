# SPDX-License-Identifier: Apache-2.0
"""Collects problems and finds the line that each belongs to."""

from collections.abc import Mapping
from typing import Any

from google.protobuf.message import Message

from deeplab2_like.config import problems as problems_lib
from deeplab2_like.config import textproto


class Report:
    """The problems found in one config.

    Attributes:
        problems: The problems added so far.
    """

    def __init__(
        self, places: Mapping[str, problems_lib.Location], source: str
    ):
        """Starts an empty report.

        Args:
            places: Place of each field path that is written in the text.
            source: Source of the paths that are not in `places`.
        """
        self.problems: list[problems_lib.Problem] = []
        self._places = places
        self._source = source

    def add(
        self,
        path: str,
        value: object,
        rule: str,
        fix: str = "",
        severity: str = problems_lib.ERROR,
    ) -> None:
        """Adds a problem.

        Args:
            path: Field path.
            value: The value; None for a field that is not set, "" when
                `rule` is a whole sentence.
            rule: What is allowed.
            fix: How to correct it.
            severity: ERROR, WARNING or NOTE.
        """
        shown = "not set" if value is None else show(value)
        problem = problems_lib.Problem(
            path, shown, rule, fix, severity=severity
        )
        self.problems.append(problem.at(self.locate(path)))

    def warn(self, path: str, value: object, rule: str, fix: str = "") -> None:
        """Adds a warning; see `add`."""
        self.add(path, value, rule, fix, problems_lib.WARNING)

    def locate(self, path: str) -> problems_lib.Location:
        """Returns the place of a path, or of the nearest message around it."""
        while path:
            if path in self._places:
                return self._places[path]
            cut = max(path.rfind("."), path.rfind("["), 0)
            path = path[:cut]
        return problems_lib.Location(self._source)

    def sort(self) -> None:
        """Sorts by line: the config's own first, those without a line last."""
        self.problems.sort(
            key=lambda p: (p.source != self._source, not p.line, p.line)
        )

    def blames(self, path: str) -> bool:
        """Returns whether `path`, or a part of it, already has an error."""
        return any(
            problem.severity == problems_lib.ERROR
            and (problem.path + ".[").startswith((path + ".", path + "["))
            for problem in self.problems
        )


def show(value: object) -> str:
    """Formats a value as in text format, floats with 6 digits."""
    if value == "":
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        text = value.replace("\\", "\\\\").replace('"', '\\"')
        return '"' + text.replace("\n", "\\n") + '"'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(show(item) for item in value) + "]"
    return str(value)


def iterate_fields(
    message: Message, prefix: str = ""
) -> list[tuple[str, Message, textproto.Field, Any]]:
    """Lists all set fields, depth first.

    Returns:
        (path, message that holds the field, field, value); for a list one
        item for each of its values.
    """
    found: list[tuple[str, Message, textproto.Field, Any]] = []
    for field, value in message.ListFields():
        path = prefix + field.name
        if textproto.is_repeated(field):
            items = [(f"{path}[{i}]", item) for i, item in enumerate(value)]
        else:
            items = [(path, value)]
        for item_path, item in items:
            found.append((item_path, message, field, item))
            if field.message_type is not None:
                found += iterate_fields(item, f"{item_path}.")
    return found


def assign(
    path: str, holder: Message, field: textproto.Field, value: object
) -> None:
    """Sets a field that `iterate_fields` listed.

    Args:
        path: Path of the field, with the index of a value in a list.
        holder: The message that holds the field; is changed.
        field: The field.
        value: The new value.
    """
    if textproto.is_repeated(field):
        index = int(path[path.rindex("[") + 1 : -1])
        getattr(holder, field.name)[index] = value
    else:
        setattr(holder, field.name, value)
