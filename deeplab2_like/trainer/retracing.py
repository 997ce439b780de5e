# SPDX-License-Identifier: Apache-2.0
"""Warns when TensorFlow traces a step again, which takes as long as a start."""

import difflib
from collections.abc import Callable

from tensorflow.types.experimental import PolymorphicFunction

_MOST_CHANGES = 4


class RetraceWarning:
    """Compares how often a function was traced with how often it had to be."""

    def __init__(
        self,
        get_function: Callable[[], PolymorphicFunction | None],
        log: Callable[[str], None],
    ):
        """Stores the functions.

        Args:
            get_function: Function that returns the traced one; None before it
                is made.
            log: Function that prints a line.
        """
        self._get_function = get_function
        self._log = log
        self._expected: int | None = None

    def check(self, step: int, seconds: float) -> None:
        """Warns if there are traces that were not there after step 2.

        Args:
            step: The step reached.
            seconds: Duration of the loop that ends there.
        """
        function = self._get_function()
        if function is None:
            return
        count = function.experimental_get_tracing_count()
        # Variables that are made in the first call cause a second trace.
        if self._expected is None:
            self._expected = count
            return
        if count <= self._expected:
            return
        self._expected = count
        self._log(
            "warning: TensorFlow traced the training step again in the loop "
            f"up to step {step}, which took {seconds:.1f} s: "
            f"{_describe_change(function)}. Each trace takes as long as the "
            "first step of a run."
        )


def _describe_change(function: PolymorphicFunction) -> str:
    """Describes how the inputs of the last two traces differ."""
    text = function.pretty_printed_concrete_signatures()
    traces = [part for part in text.split("\n\n") if part.strip()]
    if len(traces) < 2:
        return "a Python value or variable that it uses has changed"
    before, after = (trace.splitlines() for trace in traces[-2:])
    changes = [
        f"{line[0]}{line[2:].strip()}"
        for line in difflib.ndiff(before, after)
        if line[:1] in "+-"
    ]
    if not changes:
        return "a Python value or variable that it uses has changed"
    shown = "; ".join(changes[:_MOST_CHANGES])
    return f"its inputs changed (- before, + now): {shown}"
