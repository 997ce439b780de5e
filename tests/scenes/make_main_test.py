# SPDX-License-Identifier: Apache-2.0
import pathlib
import subprocess
import sys

import pytest

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _run(*arguments):
    return subprocess.run(
        [sys.executable, _ROOT / "data" / "make_scenes.py", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_program_writes_records_and_says_what_comes_next(tmp_path):
    result = _run(f"--out={tmp_path}", "--count=2", "--size=49,65")
    assert result.returncode == 0, result.stderr
    assert len(list(tmp_path.glob("train-*.tfrecord"))) == 2
    assert len(list(tmp_path.glob("val-*.tfrecord"))) == 2
    last = result.stdout.strip().splitlines()[-1]
    assert last.startswith("Next: python data/check_data.py --dataset=scenes")


def test_the_program_writes_coco_files(tmp_path):
    result = _run(
        f"--out={tmp_path}",
        "--count=2",
        "--size=49x65",
        "--split=test",
        "--format=coco",
    )
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "panoptic_test.json").exists()
    assert len(list((tmp_path / "test").glob("*.png"))) == 2
    assert len(list((tmp_path / "panoptic_test").glob("*.png"))) == 2


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["--count=1"], 2, "--out is missing"),
        (["--out=OUT", "--size=12"], 2, "--size=12 is not a size"),
        (["--out=OUT", "--size=12,40"], 3, "must be >= 33"),
        (["--out=OUT", "--split=train,dev"], 3, '"dev" of scenes does not'),
        (["--out=OUT", "--count=-3"], 3, "1 or more"),
        (["--out=OUT", "more"], 2, "'more'"),
    ],
)
def test_a_wrong_flag_gives_one_sentence(tmp_path, flags, code, text):
    out = tmp_path / "out"
    result = _run(*(flag.replace("OUT", str(out)) for flag in flags))
    assert result.returncode == code
    assert text in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.rglob("*.tfrecord"))
