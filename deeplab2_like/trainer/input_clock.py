# SPDX-License-Identifier: Apache-2.0
"""Measures in the graph of a loop of steps how long batches are waited for."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import tensorflow as tf

# Places in the variable.
_STEPS, _WAIT, _FIRST_WAIT, _SECOND_BEGIN = range(4)


@dataclasses.dataclass(frozen=True)
class LoopTimes:
    """What was measured in a loop.

    Attributes:
        steps: Number of its steps.
        wait: Seconds that they waited for their batches.
        first_wait: Seconds that the first of them did.
        second_begin: When the second step began, in seconds since 1970; 0 for
            loops of one step.
    """

    steps: int
    wait: float
    first_wait: float
    second_begin: float


def is_available() -> bool:
    """Returns whether TensorFlow gives the time in this process.

    With `enable_op_determinism` it does not.
    """
    try:
        with tf.device("CPU:0"):
            tf.timestamp()
    except tf.errors.FailedPreconditionError:
        return False
    return True


class InputClock:
    """Times of the calls of `next` in a loop that TensorFlow runs.

    The time from before the call until the batch is there counts; the step
    before it has ended then, as far as the host runs it. What a GPU still
    computes at that moment is hidden by the wait, which is therefore at most
    the time by which faster input would shorten the loop, and no less where
    the step ends with a value that the host reads, as steps do here.
    """

    def __init__(self):
        """Creates the variable; outside the scope of a strategy."""
        with tf.device("CPU:0"):
            self._stamps = tf.Variable(
                tf.zeros([4], tf.float64), trainable=False, name="input_clock"
            )

    def reset(self) -> None:
        """Forgets the last loop."""
        self._stamps.assign(tf.zeros_like(self._stamps))

    @tf.autograph.experimental.do_not_convert
    def take(self, iterator: Iterator[Any]) -> Any:
        """Returns the next batch, and measures the wait for it."""
        before = tf.timestamp()
        with tf.control_dependencies([before]):
            batch = next(iterator)
        parts = tf.nest.flatten(batch, expand_composites=True)
        with tf.control_dependencies(parts):
            after = tf.timestamp()
        wait = after - before
        old = self._stamps.read_value()
        is_first = tf.equal(old[_STEPS], 0.0)
        is_second = tf.equal(old[_STEPS], 1.0)
        self._stamps.assign(
            tf.stack(
                [
                    old[_STEPS] + 1.0,
                    old[_WAIT] + wait,
                    tf.where(is_first, wait, old[_FIRST_WAIT]),
                    tf.where(is_second, before, old[_SECOND_BEGIN]),
                ]
            )
        )
        return batch

    def read(self) -> LoopTimes:
        """Returns what was measured since `reset`."""
        steps, wait, first_wait, second_begin = self._stamps.numpy().tolist()
        return LoopTimes(int(steps), wait, first_wait, second_begin)
