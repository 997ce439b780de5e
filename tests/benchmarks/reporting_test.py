# SPDX-License-Identifier: Apache-2.0
"""Lines of JSON, the table of a run, and the comparison of two."""

import json
import pathlib
import subprocess
import sys

import pytest

from benchmarks import compare, measuring, reporting
from deeplab2_like import errors

PROGRAM = pathlib.Path(compare.__file__)


def make_measurement(name="work/30", wall=50.0, **fields):
    values = {
        "name": name,
        "sizes": {"height": 4},
        "wall_ms": wall,
        "wall_ms_min": wall - 1,
        "cpu_ms": 2 * wall,
        "cpu_ms_min": wall,
        "peak_mb": 10.0,
        "runs": 3,
        "other_load": 0.0,
    }
    return measuring.Measurement(**(values | fields))


def test_lines_come_back_as_they_were(tmp_path):
    path = tmp_path / "out.jsonl"
    context = reporting.describe_machine()
    first = make_measurement(values={"GB_per_second": 3.5})
    second = make_measurement("other", peak_mb=None, other_load=None)
    reporting.append_lines(path, [first], context)
    reporting.append_lines(path, [second], context)
    found = reporting.load_lines(path)
    assert found == {"work/30": first, "other": second}


def test_a_line_says_under_what_it_was_made():
    line = reporting.to_line(make_measurement(), reporting.describe_machine())
    content = json.loads(line)
    assert content["machine"]["cores"] >= 1
    assert "numpy" in content["versions"]
    assert content["time"].endswith("Z")


def test_of_two_lines_with_one_name_the_later_counts(tmp_path):
    path = tmp_path / "out.jsonl"
    lines = [make_measurement(wall=9.0), make_measurement(wall=8.0)]
    reporting.append_lines(path, lines, {})
    assert reporting.load_lines(path)["work/30"].wall_ms == 8.0


@pytest.mark.parametrize("text", ["no json", "{}", "[1]", '{"name": "a"}'])
def test_a_file_of_something_else_is_refused_with_its_line(tmp_path, text):
    path = tmp_path / "out.jsonl"
    reporting.append_lines(path, [make_measurement()], {})
    with path.open("a") as file:
        file.write(text + "\n")
    with pytest.raises(errors.DataError, match=r"out\.jsonl:2 is no measure"):
        reporting.load_lines(path)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(errors.DataError, match="cannot be read"):
        reporting.load_lines(tmp_path / "none.jsonl")


def test_the_table_has_no_verdict_and_no_figure_of_another_run():
    table = reporting.make_table([make_measurement("postprocess/30", 50.0)])
    header, row = table.splitlines()
    assert row.split() == ["postprocess/30", "50.0", "49.0", "100.0", "10"]
    for word in ("aim", "reference", "faster"):
        assert word not in header


def test_ratios_are_of_what_one_run_measured_both_ways():
    table = reporting.make_table(
        [
            make_measurement("mask_merging/objects", 50.0),
            make_measurement("mask_merging/full_size_objects", 1000.0),
            make_measurement("forward/resnet50/513x1025", 90.0),
            make_measurement("forward_bfloat16/resnet50/513x1025", 60.0),
            make_measurement("forward_bfloat16/resnet50/1025x2049", 60.0),
        ]
    )
    assert table.splitlines()[6:] == [
        "Ratios of this run:",
        "mask_merging/objects: 20.00 times faster than "
        "mask_merging/full_size_objects",
        "forward_bfloat16/resnet50/513x1025: 1.50 times faster than "
        "forward/resnet50/513x1025",
    ]


def test_the_limits_of_the_machine_stand_below_the_table():
    limit = make_measurement(
        "machine/memory_bandwidth", values={"GB_per_second": 47.6}
    )
    table = reporting.make_table([limit])
    assert "machine/memory_bandwidth: GB_per_second 47.6" in table


def test_the_table_says_when_the_machine_was_busy():
    table = reporting.make_table([make_measurement(other_load=0.8)])
    assert "other work during 1 of 1" in table


def test_the_comparison_of_one_run_gives_ratios_and_what_is_missing():
    before = {"a": make_measurement("a", 60.0), "x": make_measurement("x")}
    after = {
        "a": make_measurement("a", 20.0, peak_mb=None),
        "y": make_measurement("y"),
    }
    table = compare.make_comparison(before, after, is_one_run=True)
    lines = table.splitlines()
    assert lines[1].split() == ["a", "60.0", "->", "20.0", "3.00", "3.00"]
    assert lines[2:] == [
        "Only in the first side: x",
        "Only in the second side: y",
    ]


def test_two_files_are_listed_without_ratios(tmp_path):
    paths = [tmp_path / "before.jsonl", tmp_path / "after.jsonl"]
    for path, wall in zip(paths, (30.0, 10.0), strict=True):
        limit = make_measurement(
            "machine/memory_bandwidth", values={"GB_per_second": 1.5 * wall}
        )
        reporting.append_lines(
            path,
            [make_measurement(wall=wall, peak_mb=None), limit],
            {"machine": {"processor": f"P{wall:.0f}", "cores": 2}},
        )
    done = subprocess.run(
        [sys.executable, PROGRAM, *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    row = done.stdout.splitlines()[1]
    assert row.split() == ["work/30", "30.0", "->", "10.0"]
    assert "P30, 2 cores" in done.stdout
    assert "GB_per_second 45 and 15" in done.stdout
    assert "times faster" not in done.stdout
    assert "compare.py --before=CHECKOUT" in done.stdout


def test_two_checkouts_are_measured_by_turns_in_one_run(monkeypatch, tmp_path):
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "metrics.py").touch()
    asked = []

    def measure_case(path, case, **_):
        is_before = path.startswith(str(tmp_path))
        asked.append((is_before, case))
        return [make_measurement(wall=30.0 + len(asked) if is_before else 10.0)]

    monkeypatch.setattr(compare.running, "measure_case", measure_case)
    table = compare.measure_both(tmp_path, "metrics:panoptic_quality", 2)
    assert [is_before for is_before, _ in asked] == [True, False, True, False]
    assert {case for _, case in asked} == {"panoptic_quality"}
    row = table.splitlines()[1].split()
    assert row[:4] == ["work/30", "32.0", "->", "10.0"]
    assert row[4] == "3.20"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "No case is given"),
        (["metrics"], "names no program"),
        (["nothing:a"], "names no program"),
    ],
)
def test_a_comparison_of_checkouts_names_its_cases(arguments, message):
    done = subprocess.run(
        [
            sys.executable,
            PROGRAM,
            f"--before={PROGRAM.parents[1]}",
            *arguments,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == errors.ConfigError.exit_code
    assert message in done.stderr


def test_the_program_says_what_it_needs():
    done = subprocess.run(
        [sys.executable, PROGRAM, "one"], capture_output=True, text=True
    )
    assert done.returncode == errors.ConfigError.exit_code
    assert "1 files were given" in done.stderr
    assert "Traceback" not in done.stderr
