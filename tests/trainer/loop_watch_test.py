# SPDX-License-Identifier: Apache-2.0
"""What accompanies the loops of steps: times, warnings, traces."""

import json

import numpy as np
import orbit
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.trainer import (
    input_clock,
    loop_watch,
    profile_steps,
    profiling,
    retracing,
)
from deeplab2_like.trainer.ledger import events


class _Trainer(orbit.StandardTrainer):
    """A trainer that adds numbers."""

    def __init__(self, clock):
        super().__init__(tf.data.Dataset.range(10**6))
        self.step = tf.Variable(0, dtype=tf.int64)
        self.total = tf.Variable(0, dtype=tf.int64)
        self.clock = clock

    def train_step(self, iterator):
        self.total.assign_add(self.clock.take(iterator))
        self.step.assign_add(1)


@pytest.fixture
def told_times(monkeypatch):
    """Returns the times that TensorFlow tells, to be filled in order."""
    times = []

    def tell():
        told = tf.numpy_function(
            lambda: np.float64(times.pop(0)), [], tf.float64
        )
        return tf.ensure_shape(told, [])

    monkeypatch.setattr(tf, "timestamp", tell)
    return times


def test_waits_for_batches_are_measured_in_the_loop(told_times):
    clock = input_clock.InputClock()
    trainer = _Trainer(clock)
    for begin in (100.0, 200.0):
        clock.reset()
        # Before and after the batch of each step; steps take 10 s.
        waits = (4.0, 0.5, 0.0, 2.0)
        for number, wait in enumerate(waits):
            told_times += [begin + 10 * number, begin + 10 * number + wait]
        trainer.train(tf.constant(4))
        found = clock.read()
        assert found == input_clock.LoopTimes(4, sum(waits), 4.0, begin + 10)
        assert not told_times
    assert trainer.total.numpy() == sum(range(8))


def test_a_process_without_the_time_measures_nothing(monkeypatch):
    assert input_clock.is_available()

    def refuse():
        raise tf.errors.FailedPreconditionError(None, None, "No time.")

    monkeypatch.setattr(tf, "timestamp", refuse)
    assert not input_clock.is_available()


def test_the_second_step_of_a_loop_of_one_is_not_known():
    clock = input_clock.InputClock()
    _Trainer(clock).train(tf.constant(1))
    assert clock.read().second_begin == 0


def _read(folder):
    lines = (folder / events.FILE).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_the_first_step_has_an_event_of_its_own(tmp_path):
    clock = input_clock.InputClock()
    trainer = _Trainer(clock)
    ledger = events.Ledger(tmp_path)
    watch = loop_watch.LoopWatch(ledger, trainer.step, clock=clock)
    for steps in (4, 3):
        with watch.loop():
            trainer.train(tf.constant(steps))
    ledger.flush()
    first, loop = _read(tmp_path)
    assert (first["event"], first["step"], first["steps"]) == (
        "first_step",
        1,
        1,
    )
    # Loops that follow each other share a line.
    assert (loop["event"], loop["step"], loop["steps"]) == ("loop", 7, 6)
    assert loop["input_wait"] > 0
    assert loop["seconds"] >= loop["input_wait"]


def test_a_loop_of_one_step_is_the_first_step(tmp_path):
    step = tf.Variable(5, dtype=tf.int64)
    ledger = events.Ledger(tmp_path)
    watch = loop_watch.LoopWatch(ledger, step)
    with watch.loop():
        step.assign_add(1)
    (first,) = _read(tmp_path)
    assert (first["step"], first["steps"], first["input_wait"]) == (6, 1, None)


def test_a_loop_that_fails_is_not_noted(tmp_path):
    ledger = events.Ledger(tmp_path)
    watch = loop_watch.LoopWatch(ledger, tf.Variable(0, dtype=tf.int64))

    def fail():
        with watch.loop():
            raise errors.TrainingError("Not a number.")

    with pytest.raises(errors.TrainingError):
        fail()
    assert not (tmp_path / events.FILE).exists()


def test_a_step_that_is_traced_again_is_warned_of_with_the_reason():
    function = tf.function(lambda x: x + 1.0, autograph=False)
    lines = []
    warning = retracing.RetraceWarning(lambda: function, lines.append)
    function(tf.zeros([2, 3]))
    warning.check(2, 1.0)
    function(tf.ones([2, 3]))
    warning.check(4, 1.0)
    assert not lines
    function(tf.zeros([2, 5]))
    warning.check(6, 7.25)
    (line,) = lines
    assert "in the loop up to step 6, which took 7.2 s" in line
    assert "shape=(2, 3)" in line
    assert "shape=(2, 5)" in line
    warning.check(8, 1.0)
    assert len(lines) == 1


def test_before_the_first_loop_there_is_nothing_to_warn_of():
    lines = []
    retracing.RetraceWarning(lambda: None, lines.append).check(2, 1.0)
    assert not lines


@pytest.mark.parametrize("text", ["", "5", "5:", "a:b", "-1:3", "5:5", "7:3"])
def test_what_is_no_range_of_steps_is_refused(text):
    with pytest.raises(errors.ConfigError, match="--profile_steps"):
        profile_steps.parse(text)


def test_a_trace_covers_the_loops_between_its_steps(monkeypatch):
    calls = []
    monkeypatch.setattr(
        tf.profiler.experimental, "start", lambda f: calls.append(f"start {f}")
    )
    monkeypatch.setattr(
        tf.profiler.experimental, "stop", lambda: calls.append("stop")
    )
    lines = []
    profile = profiling.Profile(
        profile_steps.parse("4:8"), "folder", lines.append
    )
    for start in range(0, 12, 2):
        profile.before_loop(start)
        calls.append(start + 2)
        profile.after_loop(start + 2)
    profile.stop()
    assert calls == [2, 4, "start folder", 6, 8, "stop", 10, 12]
    assert "steps after 4" in lines[0]


def test_a_trace_ends_with_the_training(monkeypatch):
    calls = []
    for name in ("start", "stop"):
        monkeypatch.setattr(
            tf.profiler.experimental, name, lambda *_, n=name: calls.append(n)
        )
    profile = profiling.Profile(
        profile_steps.ProfileSteps(2, 100), "folder", lambda _: None
    )
    profile.before_loop(6)
    profile.after_loop(8)
    profile.stop()
    profile.stop()
    assert calls == ["start", "stop"]
