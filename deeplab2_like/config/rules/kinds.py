# SPDX-License-Identifier: Apache-2.0
"""The kinds of rules for single fields."""

import dataclasses
import math
import re

from deeplab2_like.config import names
from deeplab2_like.config.problems import describe_nearest


@dataclasses.dataclass(frozen=True)
class Range:
    """Numbers between two ends, which are included unless open."""

    low: float = -math.inf
    high: float = math.inf
    low_is_open: bool = False
    high_is_open: bool = False

    def check(self, value: float) -> str:
        """Returns "" for a legal value, else what is allowed."""
        above = value > self.low if self.low_is_open else value >= self.low
        below = value < self.high if self.high_is_open else value <= self.high
        if math.isfinite(value) and above and below:
            return ""
        return f"it must be {self.describe()}"

    def describe(self) -> str:
        """Describes what is allowed."""
        if math.isinf(self.high) and math.isinf(self.low):
            return "a finite number"
        if math.isinf(self.high):
            return f"{'above' if self.low_is_open else 'at least'} {self.low:g}"
        opening = "(" if self.low_is_open else "["
        closing = ")" if self.high_is_open else "]"
        return f"in {opening}{self.low:g}, {self.high:g}{closing}"


@dataclasses.dataclass(frozen=True)
class OneOf:
    """Names or numbers of a list."""

    allowed: tuple[str, ...] | tuple[int, ...]

    def check(self, value: str | int) -> str:
        """Returns "" for a legal value, else what is allowed."""
        if value in self.allowed:
            return ""
        if isinstance(value, str):
            known = [str(name) for name in self.allowed]
            return f"known: {describe_nearest(value, known)}"
        return f"it must be {self.describe()}"

    def describe(self) -> str:
        """Describes what is allowed."""
        return " or ".join(
            [", ".join(map(str, self.allowed[:-1])), str(self.allowed[-1])]
        )


@dataclasses.dataclass(frozen=True)
class AutoAugmentPolicy:
    """A policy name of deeplab2, or none."""

    def check(self, value: str) -> str:
        """Returns "" for a legal value, else what is allowed."""
        scaled = r"simple_classification_policy(_magnitude_scale_\d+(\.\d+)?)?"
        if not value or re.fullmatch(scaled, value):
            return ""
        return f"known: {describe_nearest(value, names.AUTOAUGMENT_POLICIES)}"

    def describe(self) -> str:
        """Describes what is allowed."""
        return "empty, or " + " or ".join(names.AUTOAUGMENT_POLICIES)


@dataclasses.dataclass(frozen=True)
class MinusOneOr:
    """-1 for "no bound", or a number that another rule allows."""

    rule: Range

    def check(self, value: float) -> str:
        """Returns "" for a legal value, else what is allowed."""
        if value == -1 or not self.rule.check(value):
            return ""
        return f"it must be {self.describe()}"

    def describe(self) -> str:
        """Describes what is allowed."""
        return f"-1, or {self.rule.describe()}"


@dataclasses.dataclass(frozen=True)
class Free:
    """Any value of the field's type."""

    def check(self, _: object) -> str:
        """Returns ""."""
        return ""

    def describe(self) -> str:
        """Describes what is allowed."""
        return "any value"


@dataclasses.dataclass(frozen=True)
class Refused:
    """Only the default: the field belongs to a system that does not exist."""

    system: str
    default: object = None

    def check(self, value: object) -> str:
        """Returns "" for the default, else why another value is refused."""
        if value == self.default:
            return ""
        return f"it belongs to {self.system}, which this package does not have"

    def describe(self) -> str:
        """Describes what is allowed."""
        return f"its default only ({self.system} is not supported)"


Rule = Range | OneOf | MinusOneOr | AutoAugmentPolicy | Free | Refused
