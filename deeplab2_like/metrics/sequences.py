# SPDX-License-Identifier: Apache-2.0
"""Base of the metrics of videos and volumes, which take frame after frame."""

import abc
from typing import Any

from deeplab2_like import errors
from deeplab2_like.metrics import overlaps as overlaps_lib


class SequenceMetric(abc.ABC):
    """A metric of sequences of frames, one after the other.

    Memory depends on the segments of the current sequence, not on the number
    of frames.
    """

    def __init__(self) -> None:
        """Begins without frames."""
        self._sequence: str | None = None
        self._ended: set[str] = set()
        self._num_frames = 0

    def update(
        self, true: Any, predicted: Any, sequence: str = "", name: str = ""
    ) -> None:
        """Adds a frame.

        Args:
            true: Integers [H, W], class * label_divisor + instance, with the
                same instance for an object in all frames of a sequence.
            predicted: The same of the prediction; its instances need not be
                those of the ground truth.
            sequence: Name of the sequence. Its frames follow one another.
            name: Name of the frame, for error messages.

        Raises:
            DataError: The maps are not integers of equal dimensions, have a
                class that the data set does not have, or the sequence ended
                before.
        """
        ((_, true_hw, predicted_hw),) = overlaps_lib.iterate_images(
            true, predicted, [name or f"{self._num_frames} of {sequence!r}"]
        )
        self.add(
            overlaps_lib.compute_overlaps(true_hw, predicted_hw), sequence, name
        )

    def add(
        self, found: overlaps_lib.Overlaps, sequence: str = "", name: str = ""
    ) -> None:
        """Adds the overlaps of the two maps of a frame; see `update`."""
        if sequence != self._sequence:
            if sequence in self._ended:
                raise errors.DataError(
                    f"Frame {name!r} belongs to the sequence {sequence!r}, "
                    "which has ended. Give the frames of a sequence one after "
                    "the other."
                )
            if self._sequence is not None:
                self._end_sequence(self._sequence)
                self._ended.add(self._sequence)
            self._sequence = sequence
        self._add_frame(name or f"{self._num_frames} of {sequence!r}", found)
        self._num_frames += 1

    @property
    def num_frames(self) -> int:
        """Number of frames so far."""
        return self._num_frames

    @abc.abstractmethod
    def _add_frame(self, name: str, found: overlaps_lib.Overlaps) -> None:
        """Adds a frame of the current sequence."""

    @abc.abstractmethod
    def _end_sequence(self, sequence: str) -> None:
        """Adds the current sequence to the sums of all, and forgets it."""
