# SPDX-License-Identifier: Apache-2.0
import io
import re

import pytest
import rich.console

from deeplab2_like.console import progress, speed

_LOSSES = {
    "total": 2.3111,
    "semantic": 1.2,
    "center": 0.0041,
    "regression": 0.777,
    "learning_rate": 0.003,
}


class _Clock:
    """A clock that the tests move."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def _make(width, *, terminal=True):
    clock, file = _Clock(), io.StringIO()
    console = rich.console.Console(
        width=width,
        file=file,
        force_terminal=terminal,
        color_system=None,
        highlight=False,
        _environ={},
    )
    return progress.Progress(console, clock=clock), clock, file


def _train(phase, clock, steps=(80, 130, 180)):
    """Five seconds for each 16 steps, the first ones slower."""
    clock.now += 60
    for step in steps:
        phase.advance(step, _LOSSES, images=8 * step)
        clock.now += 50 / 3.2


def _read(phase, width):
    """Returns the live line as it is shown."""
    other, _, file = _make(width)
    other.console.print(phase)
    (line,) = file.getvalue().splitlines()
    return line


def _clean(text):
    """Returns a text without the codes that move the cursor."""
    return re.sub(r"\x1b\[[?\d;]*\w", "", text).replace("\r", "\n")


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_step_bar_rate_and_time_come_first_at_any_width(width):
    report, clock, _ = _make(width)
    with report.phase("Training", 1000, unit="steps") as phase:
        _train(phase, clock)
        clock.now -= 50 / 3.2
        line = _read(phase, width)
    assert re.match(r"Training 180/1000  ━[━╸ ]+  3.2 steps/s  4:16 left", line)
    assert len(line) <= width
    assert not line.endswith("…")
    shown = line.partition(" left")[2].split()
    # Whole parts only, in their order.
    expected = ["total", "2.31", "25.6", "images/s"]
    for name, value in list(_LOSSES.items())[1:]:
        expected += [name, f"{value:.3g}"]
    assert shown == expected[: len(shown)]
    assert len(shown) == {60: 0, 80: 4, 100: 6, 120: 8, 200: 12}[width]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_largest_numbers_fit_from_60_columns_up(width):
    report, clock, _ = _make(width)
    with report.phase("Training", 500_000, unit="steps") as phase:
        for step in (100_000, 100_100, 499_999):
            clock.now += 36_000
            phase.advance(step, _LOSSES)
        phase.advance(250_000)
        line = _read(phase, width)
    assert line.startswith("Training 250000/500000")
    assert re.search(r"\d steps/s  [\d:dh ]+ left", line)
    assert len(line) <= width


def test_a_name_that_is_too_long_is_cut_and_stays_in_its_line():
    report, _, _ = _make(60)
    with report.phase("Drawing " + "very " * 20, 10) as phase:
        line = _read(phase, 60)
    assert len(line) == 60


def test_a_phase_inside_another_has_a_line_of_its_own():
    report, clock, file = _make(80)
    with report.phase("Training", 100, unit="steps") as training:
        training.advance(50)
        with report.phase("Evaluating", 3, unit="batches") as evaluating:
            clock.now += 3
            evaluating.advance(3, images=6)
        report.log("PQ 0.5")
        training.advance(100)
    text = _clean(file.getvalue())
    assert "Evaluating 3/3" in text
    assert "1.0 batches/s  2.0 images/s" in text
    assert "PQ 0.5" in text
    assert text.rstrip().splitlines()[-1].startswith("Training 100/100")
    with report.phase("Another", 1) as phase:
        phase.advance(1)
    more = _clean(file.getvalue())[len(text) :]
    assert "Another 1/1" in more
    assert "Training" not in more


def test_lines_without_a_terminal_have_rates_and_time_left():
    report, clock, file = _make(80, terminal=False)
    with report.phase("Training", 1000, unit="steps") as phase:
        _train(phase, clock)
    first, _, third, last = file.getvalue().splitlines()
    assert first == "Training ..."
    assert third.startswith(
        "Training 180/1000  3.2 steps/s  25.6 images/s  4:16 left  total 2.31"
        "  semantic 1.2"
    )
    assert third.endswith("learning_rate 0.003")
    assert last.endswith("(107 s)")
    assert "\x1b" not in file.getvalue()


def test_a_phase_that_continues_counts_from_its_start():
    report, clock, file = _make(80, terminal=False)
    with report.phase("Training", 160, start=10, unit="steps") as phase:
        for step in (60, 110, 160):
            clock.now += 50
            phase.advance(step)
    lines = file.getvalue().splitlines()
    assert lines[0] == "Training 10/160 ..."
    assert lines[1].startswith("Training 60/160  1.0 steps/s  1:40 left")
    assert lines[-1] == "Training 160/160  1.0 steps/s  (150 s)"
    report, _, _ = _make(80)
    with report.phase("Training", 160, start=10, unit="steps") as phase:
        assert _read(phase, 80).startswith("Training 10/160  ")


def test_units_are_counted_where_the_total_is_unknown():
    report, clock, file = _make(80, terminal=False)
    with report.phase("Evaluating", None) as phase:
        for batch in range(1, 4):
            clock.now += 40
            phase.advance(batch)
    assert "Evaluating 3  0.025/s" in file.getvalue()


def test_the_time_before_the_first_update_does_not_count():
    measured = speed.Speed(0, 0.0)
    measured.add(100.0, 10, 0)
    assert measured.rates()[0] == pytest.approx(0.1)
    measured.add(101.0, 20, 0)
    assert measured.rates()[0] == pytest.approx(10.0)
    assert measured.seconds_left(120, 103.0) == pytest.approx(8.0)


def test_the_rate_is_that_of_the_last_half_minute():
    measured = speed.Speed(0, 0.0)
    for second in range(1, 101):
        measured.add(float(second), 10 * second, 0)
    for second in range(101, 141):
        measured.add(float(second), 1000 + second - 100, 0)
    assert measured.rates()[0] == pytest.approx(1.0)


def test_many_updates_a_second_keep_few_samples():
    measured = speed.Speed(0, 0.0)
    for index in range(1, 10_001):
        measured.add(index / 100, index, index)
    assert measured.rates() == pytest.approx((100.0, 100.0), rel=1e-3)
    assert len(measured._samples) < 100


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "0:00"),
        (255, "4:15"),
        (7400, "2:03:20"),
        (86399.7, "1 d 0 h"),
        (273_600, "3 d 4 h"),
    ],
)
def test_durations_are_short(seconds, text):
    assert speed.format_duration(seconds) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (0.0, ""),
        (0.0512, "0.051 steps/s"),
        (3.21, "3.2 steps/s"),
        (25.61, "25.6 steps/s"),
        (99.96, "100 steps/s"),
        (1234.5, "1234 steps/s"),
    ],
)
def test_rates_have_few_digits(rate, text):
    assert speed.format_rate(rate, "steps") == text
