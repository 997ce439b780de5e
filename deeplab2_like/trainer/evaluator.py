# SPDX-License-Identifier: Apache-2.0
"""What the evaluators of a run have in common, for Orbit."""

import abc
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orbit
import tensorflow as tf

from deeplab2_like.trainer import optimizers, scores


class BaseEvaluator(orbit.AbstractEvaluator):
    """Evaluates a model, with averaged weights where there are some.

    Attributes:
        results: Results of the last evaluation; see `runs.evaluate`.
        after_batch: Function that is called with the number of batches done;
            what it raises ends the evaluation.
    """

    def __init__(
        self,
        average: optimizers.AveragedWeights | None,
        write_results: Callable[[Mapping[str, Any]], None],
    ):
        """Stores what is used at the beginning and at the end.

        Args:
            average: Weights to evaluate in place of the model's own.
            write_results: Function that writes the results.
        """
        self._average, self._write_results = average, write_results
        self.results: dict[str, Any] = {}
        self.after_batch: Callable[[int], None] = lambda _: None

    def evaluate(self, num_steps: tf.Tensor) -> dict[str, float]:
        """Evaluates `num_steps` batches, or all if it is -1.

        Args:
            num_steps: Integer scalar.

        Returns:
            The finite summaries by name, and those of each class.
        """
        if self._average is None:
            return self._evaluate(int(num_steps))
        self._average.swap()
        try:
            return self._evaluate(int(num_steps))
        finally:
            self._average.swap()

    @abc.abstractmethod
    def _evaluate(self, num_batches: int) -> dict[str, float]:
        """Evaluates with the present weights; see `evaluate`."""

    def _finish(self, results: dict[str, Any]) -> dict[str, float]:
        """Keeps and writes results with scores; returns their summaries."""
        self.results = results
        self._write_results(results)
        summaries = results["summaries"] | scores.class_summaries(results)
        return {k: v for k, v in summaries.items() if np.isfinite(v)}
