# SPDX-License-Identifier: Apache-2.0
import signal

import pytest
import tensorflow as tf

from deeplab2_like.protos import config_pb2
from deeplab2_like.trainer import (
    loop_watch,
    stopping,
    supervision,
    training_loop,
    training_summaries,
    watchdog,
    workers,
)
from deeplab2_like.trainer.ledger import events


class _Lines(list):
    log = list.append


def _supervise(is_alone=True):
    lines = _Lines()
    return supervision.Supervision(
        stopping.Watch(lines.log),
        watchdog.Watchdog(watchdog.Limits(), "", lines.log),
        lines,
        tf.distribute.get_strategy(),
        is_alone,
    )


def _list_ends(multiples, total, start=0):
    lengths = training_loop.LoopLengths(
        multiples, total, _supervise(), tf.distribute.get_strategy()
    )
    ends, step = [], start
    while step < total:
        step += lengths(step)
        ends.append(step)
    return ends


@pytest.mark.parametrize("start", [0, 3, 10, 99, 110])
def test_loops_end_at_every_multiple_wherever_they_start(start):
    ends = _list_ends([10, 50, 20], 160, start)
    assert ends == [s for s in range(10, 170, 10) if s > start]


def test_checkpoints_are_hit_where_loops_do_not_divide_them():
    assert _list_ends([40, 50, 1000], 130) == [40, 50, 80, 100, 120, 130]
    assert _list_ends([1000, 50, 1000], 130) == [50, 100, 130]
    assert _list_ends([1, 50, 1000], 3) == [1, 2, 3]


def test_a_signal_ends_the_loops():
    supervised = _supervise()
    lengths = training_loop.LoopLengths(
        [10], 100, supervised, tf.distribute.get_strategy()
    )
    assert lengths(0) == 10
    supervised.watch.received = stopping.INTERRUPT
    with pytest.raises(stopping.StopRequestedError):
        lengths(10)


def _read(folder, tag):
    found = {}
    for path in sorted(folder.glob("*tfevents*")):
        for event in tf.compat.v1.train.summary_iterator(str(path)):
            for value in event.summary.value:
                if value.tag == tag:
                    assert event.step not in found
                    found[event.step] = float(tf.make_ndarray(value.tensor))
    return found


def test_summaries_are_means_at_multiples_and_at_the_end(tmp_path):
    step = tf.Variable(10, dtype=tf.int64)
    summaries = training_summaries.TrainingSummaries(
        str(tmp_path), step, 20, 50
    )
    for now, loss, rate in ((15, 1.0, 5.0), (20, 3.0, 1.0), (40, 4.0, 2.0)):
        step.assign(now)
        summaries.write_summaries(
            {
                "loss": loss,
                "learning_rate": 0.1 * loss,
                "steps_per_second": rate,
            }
        )
    step.assign(50)
    summaries.write_summaries({"loss": 5.0, "steps_per_second": 2.0})
    summaries.flush()
    assert _read(tmp_path, "loss") == {20: 2.0, 40: 4.0, 50: 5.0}
    rates = _read(tmp_path, "steps_per_second")
    # Ten steps in 1 + 5 seconds.
    assert rates == pytest.approx({20: 10 / 6, 40: 2.0, 50: 2.0})
    assert _read(tmp_path, "learning_rate") == pytest.approx({20: 0.3, 40: 0.4})


def _make_loop(patience, reason):
    options = config_pb2.ExperimentOptions()
    options.trainer_options.early_stopping_evaluations = patience
    supervised = _supervise()
    loop = training_loop.TrainingLoop(
        options,
        None,
        None,
        tf.distribute.get_strategy(),
        evaluations=training_loop.Evaluations(None, lambda _: reason),
        directory="",
        supervised=supervised,
        watch=loop_watch.LoopWatch(events.Ledger(None), tf.Variable(0)),
    )
    return loop, supervised.report


def test_training_ends_early_with_the_reason_of_the_evaluations():
    loop, lines = _make_loop(2, "")
    assert not loop._stops_early(4)
    loop, lines = _make_loop(2, "Enough.")
    assert loop._stops_early(4)
    assert lines == ["Enough."]
    loop, lines = _make_loop(0, "Enough.")
    assert not loop._stops_early(4)
    assert not lines


def test_workers_end_at_the_same_step_as_the_first_one(monkeypatch):
    asked = []

    def agree(_, wants_to_stop):
        asked.append(wants_to_stop)
        return True  # The first worker wants to.

    monkeypatch.setattr(workers, "agree_to_stop", agree)
    loop, lines = _make_loop(2, "")
    assert loop._stops_early(4)
    assert asked == [False]
    assert (
        "Stopped early at step 4, by the evaluations of the first" in (lines[0])
    )


def test_a_signal_before_the_first_step_ends_a_run_that_is_alone():
    supervised = _supervise()
    starting = supervised.starting()
    starting.__enter__()
    supervised.watch.received = signal.SIGTERM
    with pytest.raises(SystemExit) as stop:  # The handler interrupts.
        starting.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert stop.value.code == stopping.EXIT_CODE
    assert supervised.report == [
        "Stopped as asked before a step was done; nothing is lost. The same "
        "command continues."
    ]


def test_workers_wait_for_each_other_before_the_first_step():
    supervised = _supervise(is_alone=False)
    with supervised.starting():
        supervised.watch.received = signal.SIGTERM
    assert not supervised.report


def test_workers_end_an_evaluation_together(monkeypatch):
    asked = []

    def agree(_, wants_to_stop):
        asked.append(wants_to_stop)
        return len(asked) == 2

    monkeypatch.setattr(workers, "agree_to_stop", agree)
    alone, supervised = _supervise(), _supervise(is_alone=False)
    for done in range(1, 40):
        alone.after_batch(done)
    assert not asked
    for done in range(1, 16):
        supervised.after_batch(done)
    with pytest.raises(stopping.StopRequestedError):
        supervised.after_batch(16)
    assert asked == [False, False]


def test_a_signal_ends_an_evaluation_of_workers_between_batches_only():
    supervised = _supervise(is_alone=False)
    supervised.watch.received = signal.SIGTERM
    with supervised.evaluating():  # As if it came before.
        supervised.after_batch(1)
    alone = _supervise()
    alone.watch.received = signal.SIGTERM
    with pytest.raises(stopping.StopRequestedError), alone.evaluating():
        pytest.fail("The block begins.")


@pytest.mark.parametrize(
    ("received", "code"),
    [
        (signal.SIGTERM, stopping.EXIT_CODE),
        (signal.SIGINT, stopping.INTERRUPT_CODE),
        (None, stopping.EXIT_CODE),  # Of another worker.
    ],
)
def test_a_stop_in_an_evaluation_ends_the_process_with_its_code(received, code):
    supervised = _supervise()
    supervised.watch.received = received
    with (
        pytest.raises(SystemExit) as stop,
        supervised.ending("in the evaluation; nothing is lost"),
    ):
        raise stopping.StopRequestedError()
    assert stop.value.code == code
    assert "in the evaluation; nothing is lost" in supervised.report[0]
