# SPDX-License-Identifier: Apache-2.0
"""Searches the best values of settings, one setting after the other.

Coordinate-wise: of each setting the value of the highest score is taken, with
the others as they are, and all settings are gone through again until none
changes. The same search runs on each half of the images, so that what was
chosen on one half can be scored on the other.
"""

import dataclasses
import enum
import math
from collections.abc import Callable, Mapping, Sequence

# Value of each setting by its name.
Settings = Mapping[str, float]

_MAX_ROUNDS = 4


class Part(enum.IntEnum):
    """Images that settings are chosen or scored on."""

    ALL = 0
    FIRST_HALF = 1
    SECOND_HALF = 2


# The score on the images of each part, in the order of `Part`; NaN where it is
# not defined.
PartScores = tuple[float, float, float]
ScoreMany = Callable[[Sequence[Settings]], Sequence[PartScores]]


@dataclasses.dataclass(frozen=True)
class Change:
    """A value that was changed.

    Attributes:
        name: Name of the setting.
        old: Its value before.
        new: Its value from then on.
        before: Score with the old value, on the images of the search.
        after: Score with the new value.
    """

    name: str
    old: float
    new: float
    before: float
    after: float

    @property
    def gain(self) -> float:
        """What the score gained."""
        return self.after - self.before


@dataclasses.dataclass(frozen=True)
class Found:
    """What was found on the images of one part.

    Attributes:
        settings: The chosen values.
        changes: The changes that led to them, in their order.
    """

    settings: dict[str, float]
    changes: list[Change]


class Search:
    """The searches on all images and on each half, which share their scores."""

    def __init__(
        self,
        candidates: Mapping[str, Sequence[float]],
        start: Settings,
        score_many: ScoreMany,
    ):
        """Stores what is searched.

        Args:
            candidates: Values to try by name of the setting.
            start: The present values.
            score_many: Function that scores several settings at once.
        """
        self._start = dict(start)
        self._candidates = {
            name: sorted({*values, start[name]})
            for name, values in candidates.items()
        }
        self._score_many = score_many
        self._scores: dict[tuple[float, ...], PartScores] = {}

    def run(self) -> dict[Part, Found]:
        """Returns what was found on the images of each part."""
        found = {part: Found(dict(self._start), []) for part in Part}
        self.score_start()
        for _ in range(_MAX_ROUNDS):
            has_changed = False
            for name, values in self._candidates.items():
                self._compute(
                    [
                        {**one.settings, name: value}
                        for one in found.values()
                        for value in values
                    ]
                )
                for part, one in found.items():
                    has_changed |= self._choose(part, one, name)
            if not has_changed:
                break
        return found

    def score_start(self) -> float:
        """Returns the score of the present values on all images."""
        self._compute([self._start])
        return self.score(self._start, Part.ALL)

    def score(self, settings: Settings, part: Part) -> float:
        """Returns the score of settings that were tried on a part."""
        return self._scores[self._key(settings)][part]

    def list_scores(self) -> list[tuple[dict[str, float], PartScores]]:
        """Lists all settings that were tried, with their scores."""
        return [
            (dict(zip(self._start, key, strict=True)), scores)
            for key, scores in self._scores.items()
        ]

    def _choose(self, part: Part, found: Found, name: str) -> bool:
        """Takes the best value of a setting; returns whether it is another.

        The present value stays unless another one has a higher score; of
        equal ones the nearest is taken.
        """
        values = self._candidates[name]
        old = found.settings[name]
        place = values.index(old)
        before = after = self.score(found.settings, part)
        new = old
        for value in sorted(values, key=lambda v: abs(values.index(v) - place)):
            score = self.score({**found.settings, name: value}, part)
            if score > after or (math.isnan(after) and not math.isnan(score)):
                new, after = value, score
        if new == old:
            return False
        found.settings[name] = new
        found.changes.append(Change(name, old, new, before, after))
        return True

    def _compute(self, wanted: Sequence[Settings]) -> None:
        """Scores what has no score yet."""
        missing = {
            self._key(settings): settings
            for settings in wanted
            if self._key(settings) not in self._scores
        }
        if missing:
            scores = self._score_many(list(missing.values()))
            self._scores.update(zip(missing, scores, strict=True))

    def _key(self, settings: Settings) -> tuple[float, ...]:
        return tuple(settings[name] for name in self._start)
