# SPDX-License-Identifier: Apache-2.0
"""Traces of TensorFlow's profiler, of some of the steps of a training."""

from collections.abc import Callable

import tensorflow as tf

from deeplab2_like.trainer import profile_steps


class Profile:
    """Starts and ends the profiler between loops.

    Attributes:
        ends: Steps at which loops have to end.
    """

    def __init__(
        self,
        steps: profile_steps.ProfileSteps,
        folder: str,
        log: Callable[[str], None],
    ):
        """Stores the arguments.

        Args:
            steps: The steps.
            folder: Folder of TensorBoard into which the trace is written.
            log: Function that prints a line.
        """
        self._steps = steps
        self.ends = (steps.start, steps.end)
        self._folder = folder
        self._log = log
        self._is_running = False

    def before_loop(self, step: int) -> None:
        """Starts the profiler if the next step is to be traced."""
        if self._is_running or not self._steps.start <= step < self._steps.end:
            return
        try:
            tf.profiler.experimental.start(self._folder)
            self._is_running = True
        except tf.errors.OpError as error:
            self._log(f"warning: No steps are traced: {error.message}")

    def after_loop(self, step: int) -> None:
        """Writes the trace after its last step."""
        if self._is_running and step >= self._steps.end:
            self.stop()

    def stop(self) -> None:
        """Writes the trace if there is one."""
        if not self._is_running:
            return
        self._is_running = False
        try:
            tf.profiler.experimental.stop()
        except tf.errors.OpError as error:
            self._log(f"warning: The trace is lost: {error.message}")
            return
        self._log(
            f"Trace of the steps after {self._steps.start}: "
            f"tensorboard --logdir {self._folder}, the page Profile (it needs "
            "`pip install tensorboard-plugin-profile`)."
        )
