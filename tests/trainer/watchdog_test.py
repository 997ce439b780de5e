# SPDX-License-Identifier: Apache-2.0
import threading

import pytest

from deeplab2_like.trainer import stopping, watchdog


class _Clock:
    now = 0.0

    def __call__(self):
        return self.now


class _Case:
    """A watchdog whose clock and end are those of the test."""

    def __init__(self, folder, before_exit=None, **limits):
        self.clock = _Clock()
        self.lines, self.codes, self.exits = [], [], []
        self.folder = folder
        self.dog = watchdog.Watchdog(
            watchdog.Limits(**limits),
            str(folder),
            self.lines.append,
            before_exit=before_exit or (lambda: self.exits.append(True)),
            clock=self.clock,
            end_process=self.codes.append,
        )

    def is_ended_after(self, seconds):
        self.clock.now += seconds
        self.dog.check()
        return bool(self.codes)


_LIMITS = {"compile": 100.0, "step": 10.0, "save": 20.0, "evaluation": 30.0}


@pytest.fixture
def case(tmp_path):
    return _Case(tmp_path, **_LIMITS)


def test_nothing_ends_outside_of_the_parts(case):
    assert not case.is_ended_after(1e9)


def test_the_first_loop_has_the_time_of_its_compilation_too(case):
    with case.dog.steps(5):
        assert not case.is_ended_after(149)
        assert case.is_ended_after(2)
    assert "compile_seconds" in case.lines[0]


def test_later_loops_have_the_time_of_their_steps(case):
    with case.dog.steps(1):
        pass
    with case.dog.steps(5):
        assert not case.is_ended_after(49)
    with case.dog.steps(5):
        assert case.is_ended_after(51)
    assert case.codes == [stopping.EXIT_CODE]
    assert case.exits
    (line,) = case.lines
    assert line.startswith(
        "Error: A loop of 5 steps took longer than 50 s "
        "(trainer_options.watchdog.step_seconds), so that the process ends."
    )
    (file,) = case.folder.glob("stacks-*.txt")
    assert str(file) in line
    assert "is_ended_after" in file.read_text()


def test_a_save_inside_an_evaluation_has_a_time_of_its_own(case):
    with case.dog.evaluating():
        case.clock.now = 29
        with case.dog.saving():
            assert not case.is_ended_after(19)
        assert not case.is_ended_after(29)
        assert case.is_ended_after(2)
    assert "evaluation_seconds" in case.lines[0]


def test_each_batch_of_an_evaluation_has_its_time(case):
    with case.dog.evaluating():
        for _ in range(5):
            assert not case.is_ended_after(25)
            case.dog.evaluated()
        assert case.is_ended_after(31)


def test_others_are_waited_for_as_long_as_any_part_may_take(case):
    with case.dog.waiting():
        assert not case.is_ended_after(99)
        assert case.is_ended_after(2)


@pytest.mark.parametrize("without", _LIMITS)
def test_a_limit_of_zero_is_none(tmp_path, without):
    case = _Case(tmp_path, **{**_LIMITS, without: 0.0})
    parts = {
        "compile": lambda: case.dog.steps(1),
        "save": case.dog.saving,
        "evaluation": case.dog.evaluating,
    }
    if without == "step":
        with case.dog.steps(1):
            pass
        parts["step"] = lambda: case.dog.steps(1)
    with parts[without]():
        assert not case.is_ended_after(1e9)
    with case.dog.waiting():
        assert not case.is_ended_after(1e9)


def test_the_end_is_told_where_no_stacks_can_be_written(tmp_path):
    case = _Case(tmp_path / "no_folder", **_LIMITS)
    with case.dog.saving():
        assert case.is_ended_after(21)
    assert "could not be written" in case.lines[0]


def test_the_process_ends_where_leaving_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(stopping, "LEAVE_SECONDS", 0.01)
    has_begun, never = threading.Event(), threading.Event()

    def hang():
        has_begun.set()
        never.wait()

    case = _Case(tmp_path, before_exit=hang, **_LIMITS)
    with case.dog.saving():
        # In a thread, so that the test fails where it does not end.
        ends = threading.Thread(
            target=case.is_ended_after, args=(21,), daemon=True
        )
        ends.start()
        ends.join(30)
    assert has_begun.is_set()
    assert case.codes == [stopping.EXIT_CODE]


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_the_process_ends_without_output(tmp_path, monkeypatch, name):
    monkeypatch.setattr(watchdog.stopping.sys, name, None)
    case = _Case(tmp_path, **_LIMITS)
    with case.dog.saving():
        assert case.is_ended_after(21)
    assert case.exits


def test_the_process_ends_where_no_thread_can_start(case, monkeypatch):
    def refuse(_):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with case.dog.saving(), pytest.raises(RuntimeError):
        case.is_ended_after(21)
    assert case.codes == [stopping.EXIT_CODE]


def test_an_error_of_leaving_counts_for_nothing(tmp_path):
    def fail():
        raise OSError("The disk is gone.")

    case = _Case(tmp_path, before_exit=fail, **_LIMITS)
    with case.dog.saving():
        assert case.is_ended_after(21)


def test_a_thread_looks_while_the_block_lasts(tmp_path, monkeypatch):
    monkeypatch.setattr(watchdog, "_LOOK_SECONDS", 0.01)
    case = _Case(tmp_path, **_LIMITS)
    with case.dog, case.dog.saving():
        case.clock.now = 100.0
        for _ in range(1000):
            if case.codes:
                break
            case.dog._is_over.wait(0.01)
    assert case.codes
