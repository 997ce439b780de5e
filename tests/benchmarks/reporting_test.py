# SPDX-License-Identifier: Apache-2.0
"""Lines of JSON, the table beside the reference, and the comparison."""

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


def test_the_table_gives_ratio_and_verdict_beside_the_reference():
    reference = {
        "work/30": reporting.Reference(1000.0, memory_mb=2000, aim=15),
        "slow": reporting.Reference(60.0, aim=2),
    }
    table = reporting.make_table(
        [make_measurement(), make_measurement("slow"), make_measurement("new")],
        reference,
    )
    good, slow, new = table.splitlines()[1:4]
    assert "1000 / 2000 MB" in good
    assert "20.00 (other run)" in good
    assert good.endswith("reached")
    assert "1.20 (other run)" in slow
    assert slow.endswith("missed")
    assert "other run" not in new
    assert "other work" not in table


def test_the_table_says_when_the_machine_was_busy():
    table = reporting.make_table([make_measurement(other_load=0.8)], {})
    assert "other work during 1 of 1" in table


def test_each_reference_figure_is_positive():
    reference = reporting.load_reference()
    assert len(reference) > 20
    for figure in reference.values():
        assert figure.wall_ms > 0
        assert figure.aim is None or figure.aim >= 1


def test_the_comparison_gives_ratios_and_what_is_missing():
    before = {"a": make_measurement("a", 60.0), "x": make_measurement("x")}
    after = {
        "a": make_measurement("a", 20.0, peak_mb=None),
        "y": make_measurement("y"),
    }
    lines = compare.make_comparison(before, after).splitlines()
    assert lines[1].split() == ["a", "60.0", "->", "20.0", "3.00", "3.00"]
    assert lines[2:] == [
        "Only in the first file: x",
        "Only in the second file: y",
    ]


def test_the_program_compares_two_files(tmp_path):
    paths = [tmp_path / "before.jsonl", tmp_path / "after.jsonl"]
    for path, wall in zip(paths, (30.0, 10.0), strict=True):
        reporting.append_lines(path, [make_measurement(wall=wall)], {})
    done = subprocess.run(
        [sys.executable, PROGRAM, *paths],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "30.0 -> 10.0          3.00" in done.stdout


def test_the_program_says_what_it_needs():
    done = subprocess.run(
        [sys.executable, PROGRAM, "one"], capture_output=True, text=True
    )
    assert done.returncode == errors.ConfigError.exit_code
    assert "1 files were given" in done.stderr
    assert "Traceback" not in done.stderr
