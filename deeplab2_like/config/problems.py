# SPDX-License-Identifier: Apache-2.0
"""Problems of a config: the place, the rule and the correction."""

import dataclasses
import difflib
from collections.abc import Iterable, Sequence

from deeplab2_like.errors import ConfigError

ERROR = "error"
WARNING = "warning"
NOTE = "note"


@dataclasses.dataclass(frozen=True)
class Location:
    """A place in a text.

    Attributes:
        source: Path of the file, or the name of the flag that held the text.
        line: Line, from 1; 0 when only the source is known.
        column: Column, from 1; 0 when only the line is known.
    """

    source: str = ""
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        numbers = [str(n) for n in (self.line, self.column) if n > 0]
        return ":".join([self.source, *numbers] if self.source else numbers)


@dataclasses.dataclass(frozen=True)
class Problem:
    """One finding about one field.

    Attributes:
        path: Field path, for example "train_dataset_options.crop_size[1]"; ""
            when the finding is about the text as a whole.
        value: The value as a user would write it, or "not set"; "" when
            `rule` is a whole sentence.
        rule: What is allowed, or why the value is not.
        fix: How to correct it.
        line: Line in `source`, from 1; 0 when unknown.
        severity: ERROR (the config cannot be used), WARNING, or NOTE.
        source: Path of the file, or the flag, that the value comes from.
        column: Column in the line, from 1; 0 when unknown.
    """

    path: str
    value: str
    rule: str
    fix: str = ""
    line: int = 0
    severity: str = ERROR
    source: str = ""
    column: int = 0

    def at(self, location: Location) -> "Problem":
        """Returns the same problem with another place."""
        return dataclasses.replace(
            self,
            source=location.source,
            line=location.line,
            column=location.column,
        )

    def __str__(self) -> str:
        where = str(Location(self.source, self.line, self.column))
        subject = ""  # The rule is a whole sentence.
        if self.path and self.value:
            subject = f"{self.path} is {self.value}"
        head = ": ".join(part for part in (where, subject) if part)
        text = f"{head}: {self.rule}" if head else self.rule
        if self.severity != ERROR:
            text = f"{self.severity}: {text}"
        if not text.endswith("."):
            text += "."
        return f"{text}\n  {self.fix}" if self.fix else text


class InvalidConfigError(ConfigError):
    """A config with problems; `problems` lists all of them."""

    def __init__(self, problems: Iterable[Problem]):
        """Creates the error of some problems.

        Args:
            problems: The problems, at least one.
        """
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def describe_nearest(name: str, known: Iterable[str], limit: int = 0) -> str:
    """Lists the known names, those most like `name` first.

    Args:
        name: What the user wrote.
        known: The valid names.
        limit: Most names to list; 0 lists all.
    """
    names = nearest_first(name, known)
    shown = names[:limit] if limit else names
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")


def nearest_first(name: str, known: Iterable[str]) -> list[str]:
    """Sorts names by likeness to `name`, the unlike ones alphabetically."""
    names = sorted(set(known))
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return near + [other for other in names if other not in near]


def raise_if_any(problems: Sequence[Problem]) -> None:
    """Raises if one of the problems is an error.

    Raises:
        InvalidConfigError: There is one; it contains the errors only.
    """
    errors = [problem for problem in problems if problem.severity == ERROR]
    if errors:
        raise InvalidConfigError(errors)
