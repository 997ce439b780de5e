# SPDX-License-Identifier: Apache-2.0
"""All evaluators take averaged weights and give summaries alike."""

import math

import pytest
import tensorflow as tf

from deeplab2_like.trainer import evaluation, evaluator, large_evaluation

_RESULTS = {
    "summaries": {"evaluation/pq/PQ": 0.5, "evaluation/pq/RQ": math.nan},
    "classes": {"car": {"PQ": 0.25, "IoU": math.nan, "tp": 3}},
}


class _Average:
    is_used = False

    def swap(self):
        self.is_used = not self.is_used


class _Evaluator(evaluator.BaseEvaluator):
    def __init__(self, average, *, fails=False):
        self.written = []
        super().__init__(average, self.written.append)
        self._fails = fails
        self.seen = []

    def _evaluate(self, num_batches):
        self.seen.append((num_batches, self._average and self._average.is_used))
        if self._fails:
            raise RuntimeError
        return self._finish(dict(_RESULTS))


@pytest.mark.parametrize("average", [None, _Average()])
def test_summaries_are_finite_and_those_of_classes_too(average):
    made = _Evaluator(average)
    assert made.evaluate(tf.constant(7)) == {
        "evaluation/pq/PQ": 0.5,
        "evaluation/pq/PQ/car": 0.25,
    }
    assert made.results == _RESULTS
    assert made.written == [made.results]
    assert made.seen == [(7, average and True)]
    assert not (average and average.is_used)


def test_the_models_own_weights_come_back_after_an_error():
    average = _Average()
    with pytest.raises(RuntimeError):
        _Evaluator(average, fails=True).evaluate(tf.constant(-1))
    assert not average.is_used


def test_all_evaluators_of_runs_do_so():
    for kind in (evaluation.Evaluator, large_evaluation.LargeEvaluator):
        assert issubclass(kind, evaluator.BaseEvaluator)
        assert "evaluate" not in vars(kind)
