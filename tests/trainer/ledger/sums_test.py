# SPDX-License-Identifier: Apache-2.0
"""The sums of a ledger: each second of the wall time has one cause."""

import json

import pytest

from deeplab2_like import errors
from deeplab2_like.trainer.ledger import events, reading, sums, table


class _Clock:
    def __init__(self, now=1000.0):
        self.now = now

    def __call__(self):
        return self.now


def _open(folder, clock):
    return events.Ledger(folder, clock=clock)


def _train(ledger, clock, first, steps, *, step_seconds=1.0, wait=0.25):
    """Restores in 3 s, makes a first step in 20 s, then the others."""
    clock.now += 5  # Model and data.
    with ledger.measure("restore") as fields:
        clock.now += 3
        fields["step"] = first
    clock.now += 2
    clock.now += 20
    ledger.add(
        "first_step", seconds=20.0, step=first + 1, steps=1, input_wait=4.0
    )
    for step in range(first + 2, first + steps + 1):
        clock.now += step_seconds + wait
        ledger.add_loop(step, 1, step_seconds + wait, wait)


def _sum(folder):
    return sums.sum_up(reading.read_run(str(folder)))


def _check_total(found):
    total = found.productive_seconds + sum(found.lost_seconds.values())
    assert total == pytest.approx(found.wall_seconds, rel=0.01)


def test_every_second_of_one_run_has_its_cause(tmp_path):
    clock = _Clock()
    ledger = _open(tmp_path, clock)
    with ledger.attempt(990.0, batch_size=8, replicas=2):
        _train(ledger, clock, 0, 41)
        clock.now += 0.5  # A summary.
        with ledger.measure("save", 41):
            clock.now += 6
        with ledger.measure("evaluation", 41):
            clock.now += 30
    found = _sum(tmp_path)
    assert found.wall_seconds == pytest.approx(10 + 10 + 20 + 50 + 0.5 + 36)
    _check_total(found)
    assert found.productive_seconds == pytest.approx(41)
    lost = found.lost_seconds
    assert lost["start"] == pytest.approx(10 + 7)
    assert lost["restore"] == pytest.approx(3)
    # One of its seconds is that of a step, four are waits.
    assert lost["first_step"] == pytest.approx(15)
    assert lost["input_wait"] == pytest.approx(4 + 40 * 0.25)
    assert lost["save"] == pytest.approx(6)
    assert lost["evaluation"] == pytest.approx(30)
    assert lost["unaccounted"] == pytest.approx(0.5)
    assert lost["done_twice"] == lost["not_running"] == 0
    assert (found.last_step, found.attempts, found.killed) == (41, 1, 0)
    assert found.steps == 41
    assert found.steps_per_second == pytest.approx(41 / (5 + 50))
    assert (found.batch_size, found.replicas) == (8, 2)


def test_steps_after_the_checkpoint_of_a_restart_are_done_twice(tmp_path):
    clock = _Clock()
    ledger = _open(tmp_path, clock)
    ledger.add("start", began=clock(), batch_size=4, replicas=1)
    _train(ledger, clock, 0, 31, wait=0.0)
    ledger.flush()  # Killed here.
    clock.now += 100
    ledger = _open(tmp_path, clock)
    with ledger.attempt(clock.now):
        _train(ledger, clock, 20, 11, wait=0.0)
    found = _sum(tmp_path)
    _check_total(found)
    assert found.lost_seconds["done_twice"] == pytest.approx(11)
    assert found.lost_seconds["not_running"] == pytest.approx(100)
    assert found.steps == 31
    assert (found.attempts, found.killed) == (2, 1)


def test_a_part_of_a_loop_is_done_twice(tmp_path):
    clock = _Clock()
    ledger = _open(tmp_path, clock)
    ledger.add("start", began=clock())
    clock.now += 10
    ledger.add("first_step", seconds=10, step=10, steps=10, input_wait=0.0)
    clock.now += 40
    ledger.add_loop(50, 40, 40.0, 8.0)
    ledger = _open(tmp_path, clock)
    ledger.add("start", began=clock())
    ledger.add("restore", seconds=0.0, step=40)
    found = _sum(tmp_path)
    _check_total(found)
    assert found.lost_seconds["done_twice"] == pytest.approx(10)
    assert found.lost_seconds["input_wait"] == pytest.approx(6)
    assert found.steps == pytest.approx(40)


def test_a_start_that_reached_no_step_leaves_the_last_one_as_it_was(tmp_path):
    clock = _Clock()
    ledger = _open(tmp_path, clock)
    with ledger.attempt(990.0):
        _train(ledger, clock, 0, 41)
    for _ in range(2):
        ledger = _open(tmp_path, clock)
        with ledger.attempt(clock.now):  # Ended before it restored.
            clock.now += 5
    found = _sum(tmp_path)
    assert (found.last_step, found.attempts) == (41, 3)


def test_a_start_that_ended_before_its_first_step_is_all_start(tmp_path):
    clock = _Clock()
    ledger = _open(tmp_path, clock)

    def fail():
        with ledger.attempt(990.0):
            clock.now += 5
            raise errors.DataError("No records.\nMore.")

    with pytest.raises(errors.DataError):
        fail()
    (ledger,) = reading.read_run(str(tmp_path))
    assert ledger.attempts[0].reason == "DataError: No records."
    found = _sum(tmp_path)
    _check_total(found)
    assert found.lost_seconds["start"] == pytest.approx(15)
    assert found.steps_per_second == 0


@pytest.mark.parametrize(
    ("code", "reason"), [(75, "asked to stop"), (130, "interrupted")]
)
def test_a_stop_says_why(code, reason, tmp_path):
    ledger = _open(tmp_path, _Clock())
    with pytest.raises(SystemExit), ledger.attempt(1.0):
        raise SystemExit(code)
    (found,) = reading.read_run(str(tmp_path))
    assert found.attempts[0].reason == reason


def test_short_loops_share_a_line(tmp_path):
    clock = _Clock()
    ledger = _open(tmp_path, clock)
    ledger.add("start", began=clock())
    for step in range(1, 101):
        clock.now += 1
        ledger.add_loop(step, 1, 1.0, None)
    ledger.add("save", seconds=0.0, step=100)
    lines = (tmp_path / events.FILE).read_text().splitlines()
    loops = [e for e in map(json.loads, lines) if e["event"] == "loop"]
    assert [loop["step"] for loop in loops] == list(range(10, 101, 10))
    assert {loop["steps"] for loop in loops} == {10}
    assert not _sum(tmp_path).has_input_wait


def test_half_a_line_of_a_killed_process_is_left_out(tmp_path):
    clock = _Clock()
    ledger = _open(tmp_path, clock)
    ledger.add("start", began=clock())
    clock.now += 7
    ledger.add("save", seconds=7.0, step=1)
    file = tmp_path / events.FILE
    for cut in (1, 20):
        content = file.read_bytes()
        file.write_bytes(content[:-cut])
        later = _open(tmp_path, clock)
        later.add("start", began=clock())
    (found,) = reading.read_run(str(tmp_path))
    # The first cut took the end of a line only, the second half of a line.
    assert len(found.attempts) == 2
    assert found.unreadable == 1
    _check_total(_sum(tmp_path))


@pytest.mark.parametrize(
    "line",
    [
        "3",
        "[]",
        '{"event": "start"}',
        '{"event": "start", "run": "a", "time": "x", "began": 1}',
        '{"event": "start", "run": "a", "time": 1}',
        '{"event": "loop", "run": "a", "time": 1, "seconds": "x"}',
        '{"event": "loop", "run": "a", "time": NaN}',
        '{"event": "loop", "run": "a", "time": 1e999}',
        '{"event": "loop", "run": "a", "time": -1}',
        '{"event": "loop", "run": "a", "time": 1, "steps": 0.5}',
        '{"event": "start", "run": "a", "time": 2, "began": 1, "replicas": ""}',
        pytest.param("[" * 100_000, id="deep"),
        "\x00\x00",
    ],
)
def test_what_is_no_event_is_counted(line, tmp_path):
    (tmp_path / events.FILE).write_text(f"{line}\n")
    with pytest.raises(errors.DataError, match="has no events"):
        reading.read_run(str(tmp_path))
    _open(tmp_path, _Clock()).add("start", began=1.0)
    assert _sum(tmp_path).unreadable == 1


def test_a_folder_without_a_ledger_is_refused(tmp_path):
    with pytest.raises(errors.DataError, match=r"deeplab2-train"):
        reading.read_run(str(tmp_path))


def test_the_worker_whose_input_is_slow_is_named(tmp_path):
    for name, wait in (("", 0.01), ("worker_1", 0.3), ("worker_2", 0.01)):
        clock = _Clock()
        ledger = _open(tmp_path / name, clock)
        ledger.add("start", began=1.0, host=f"host of {name}")
        clock.now += 10
        ledger.add_loop(10, 10, 10.0, 10 * wait)
    found = _sum(tmp_path)
    assert found.straggler.worker == "worker_1"
    assert found.straggler.host == "host of worker_1"
    assert found.straggler.seconds == pytest.approx(0.3)
    text = table.to_text(found)
    assert "Straggler: worker_1 on host of worker_1 waits 0.3 s" in text


def test_workers_that_wait_equally_have_no_straggler(tmp_path):
    for name in ("", "worker_1"):
        clock = _Clock()
        ledger = _open(tmp_path / name, clock)
        ledger.add("start", began=1.0)
        ledger.add_loop(10, 10, 10.0, 3.0)
        ledger.flush()
    assert _sum(tmp_path).straggler is None


def test_a_ledger_that_cannot_be_written_stops_nothing(tmp_path):
    (tmp_path / "file").touch()
    lines = []
    ledger = events.Ledger(tmp_path / "file" / "run", log=lines.append)
    with ledger.attempt(1.0):
        ledger.add_loop(1, 1, 1.0, 0.0)
    assert len(lines) == 1
    assert "cannot be written" in lines[0]


def test_the_process_began_before_now():
    clock = events.make_clock()
    began = events.find_process_start()
    assert 0 <= clock() - began < 24 * 3600


def test_utilisation_counts_six_operations_a_multiply_add(tmp_path):
    clock = _Clock()
    ledger = _open(tmp_path, clock)
    ledger.add("start", began=clock(), batch_size=8, replicas=4)
    clock.now += 10
    ledger.add_loop(20, 20, 10.0, 1.0)
    ledger.flush()
    found = _sum(tmp_path)
    # 2 steps/s of 8 images: 6 * 10^12 * 16 operations on 4 devices.
    utilisation = table.compute_utilisation(found, 10**12, 48.0)
    assert utilisation == pytest.approx(0.5)
    assert "50.0 % of 4 device" in table.to_text(found, utilisation)
    values = table.to_values(found, utilisation)
    assert values["model_flops_utilisation"] == pytest.approx(0.5)
    json.dumps(values)
