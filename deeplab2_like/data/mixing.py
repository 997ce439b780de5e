# SPDX-License-Identifier: Apache-2.0
"""Two sets of records in one training, in a fixed ratio.

The set of example n is a function of n alone, so that every batch has the same
share of each, up to rounding, whatever the number of pipelines and wherever
training starts. In reading order: `Mix`, `Turns`, `merge`.
"""

import dataclasses
import fractions
from collections.abc import Sequence

import tensorflow as tf

from deeplab2_like.data.records import paths as record_paths

# Shares are ratios of small integers, exact in 64 bits.
_MAX_DENOMINATOR = 1000


@dataclasses.dataclass(frozen=True)
class Mix:
    """A second set of records.

    Attributes:
        file_patterns: Glob patterns of its TFRecord files.
        share: Share of the examples that are of it, in (0, 1).
    """

    file_patterns: Sequence[str]
    share: float

    def find_files(self) -> list[str]:
        """Returns the paths of its files; see `record_paths.find_files`."""
        return record_paths.find_files(list(self.file_patterns))

    def turns(self) -> tuple["Turns", "Turns"]:
        """Returns the turns of the first set and those of this one."""
        ratio = fractions.Fraction(self.share).limit_denominator(
            _MAX_DENOMINATOR
        )
        smallest = fractions.Fraction(1, _MAX_DENOMINATOR)
        ratio = min(max(ratio, smallest), 1 - smallest)
        top, bottom = ratio.numerator, ratio.denominator
        return Turns(top, bottom, is_second=False), Turns(top, bottom)


@dataclasses.dataclass(frozen=True)
class Turns:
    """The examples of a training that are of one of two sets.

    Example n is of the second set where floor((n + 1) * r) is more than
    floor(n * r), with the ratio r = numerator / denominator.

    Attributes:
        numerator: Examples of the second set among `denominator` examples.
        denominator: See `numerator`.
        is_second: Whether the turns are those of the second set.
    """

    numerator: int
    denominator: int
    is_second: bool = True

    def count_before(self, number: int) -> int:
        """Returns how many examples below a number are of the set."""
        second = number * self.numerator // self.denominator
        return second if self.is_second else number - second

    def find_numbers(self, places: tf.Tensor) -> tf.Tensor:
        """Returns the number of the example for each place in the set.

        Args:
            places: int64 [N], from 0: the first, second ... of the set.

        Returns:
            int64 [N], numbers of examples of the training, from 0.
        """
        top, bottom = self.numerator, self.denominator
        if self.is_second:
            # The least n with floor((n + 1) * r) = place + 1.
            return -(-((places + 1) * bottom) // top) - 1
        # The first set has the ratio 1 - r, rounded up: it comes first.
        return places * bottom // (bottom - top)

    def are_second(self, numbers: tf.Tensor) -> tf.Tensor:
        """Returns 1 for the examples of the second set, 0 for others: int64."""
        top, bottom = self.numerator, self.denominator
        return (numbers + 1) * top // bottom - numbers * top // bottom


def merge(
    first: tf.data.Dataset,
    second: tf.data.Dataset,
    turns: Turns,
    numbers: tf.data.Dataset,
) -> tf.data.Dataset:
    """Merges the examples of both sets in the order of their numbers.

    Args:
        first: Endless data set of the examples of the first set.
        second: The same of the second set.
        turns: Turns of one of them.
        numbers: Numbers of the examples of this pipeline, increasing.

    Returns:
        An endless data set of the elements of both.
    """
    return tf.data.Dataset.choose_from_datasets(
        [first, second],
        numbers.map(turns.are_second),
        stop_on_empty_dataset=False,
    )
