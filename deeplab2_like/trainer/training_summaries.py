# SPDX-License-Identifier: Apache-2.0
"""Summaries of a training, at multiples of a number of steps."""

from collections.abc import Mapping

import orbit
import tensorflow as tf


class TrainingSummaries(orbit.utils.SummaryManager):
    """Writes summaries of training: at multiples of a number of steps.

    Values are means over the steps since the summaries before; the learning
    rate is that of the last step.
    """

    def __init__(
        self, folder: str, step: tf.Variable, interval: int, last: int
    ):
        """Creates the writer; writes nothing yet.

        Args:
            folder: Folder of the event files.
            step: The step counter.
            interval: Number of steps from summary to summary.
            last: The last step, which has summaries in any case.
        """
        super().__init__(folder, tf.summary.scalar, global_step=step)
        self._step = step
        self._interval = interval
        self._last = last
        self._begin = self._seen = int(step.numpy())
        self._sums: dict[str, float] = {}

    def write_summaries(self, summary_dict: Mapping[str, float]) -> None:
        """Adds the values of a loop, and writes when it is time.

        Args:
            summary_dict: Means over the steps of the loop by name, and
                "steps_per_second".
        """
        step = int(self._step.numpy())
        steps, self._seen = step - self._seen, step
        values = {name: float(value) for name, value in summary_dict.items()}
        # The mean of a rate is that of the seconds of a step.
        rate = values.pop("steps_per_second", 0.0)
        values["seconds"] = 1.0 / rate if rate > 0 else 0.0
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + steps * value
        if step % self._interval and step < self._last:
            return
        total = max(1, step - self._begin)
        means = {name: value / total for name, value in self._sums.items()}
        seconds = means.pop("seconds")
        if seconds > 0:
            means["steps_per_second"] = 1.0 / seconds
        if "learning_rate" in values:
            means["learning_rate"] = values["learning_rate"]
        self._sums, self._begin = {}, step
        super().write_summaries(means)
