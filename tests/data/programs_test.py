# SPDX-License-Identifier: Apache-2.0
"""The programs of the root folder data/, run as a user runs them."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from google.protobuf import text_format
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data.coco import descriptions
from deeplab2_like.labels import descriptor
from deeplab2_like.protos import dataset_pb2

ROOT = pathlib.Path(__file__).resolve().parents[2]
RECORDS = "records [v1]*"  # TensorFlow reads it as a pattern.
PROGRAMS = ["check_data", "convert_coco_panoptic", "describe_data"]


def run(program, *arguments, folder=None):
    """Runs a program outside of the checkout; gives code, output, errors."""
    done = subprocess.run(
        [sys.executable, str(ROOT / f"data/{program}.py"), *arguments],
        capture_output=True,
        text=True,
        cwd=folder or "/",
        env={"PATH": "/usr/bin", "COLUMNS": "200"},
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def make_data(folder, listed_id=7 + 256 * 7):
    """A data set of one image: a thing on ground."""
    rgb = np.zeros((6, 8, 3), np.uint8)
    rgb[..., 0] = 1
    rgb[2:4, 1:7, :2] = 7
    for name in ("images", "panoptic"):
        (folder / name).mkdir()
        Image.fromarray(rgb).save(folder / name / "one.png")
    content = {
        "images": [{"id": 1, "file_name": "one.png"}],
        "annotations": [
            {
                "image_id": 1,
                "file_name": "one.png",
                "segments_info": [
                    {"id": 1, "category_id": 4, "area": 36},
                    {"id": listed_id, "category_id": 9, "area": 12},
                ],
            }
        ],
        "categories": [
            {"id": 9, "name": 'a "car"', "isthing": 1, "color": [1, 2, 3]},
            {"id": 4, "name": "ground", "isthing": 0},
        ],
    }
    (folder / "panoptic.json").write_text(json.dumps(content))


def convert(folder):
    return run(
        "convert_coco_panoptic",
        "--json=panoptic.json",
        "--images=images",
        "--panoptic=panoptic",
        "--dataset=mine.textproto",
        "--split=val",
        f"--output_dir={RECORDS}",
        folder=folder,
    )


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_works_from_anywhere_and_lists_the_flags(program):
    _, output, _ = run(program, "--help")
    flag = {"describe_data": "--json="}.get(program, "--dataset=")
    assert flag in output


@pytest.mark.slow
def test_own_data_from_json_to_checked_records(tmp_path):
    make_data(tmp_path)
    code, output, _ = run(
        "describe_data", "panoptic.json", "--output=mine.textproto",
        folder=tmp_path,
    )  # fmt: skip
    assert code == 0, output
    data = descriptor.load(str(tmp_path / "mine.textproto"))
    assert data.name == "mine"
    assert data.class_names == ("ground", 'a "car"')
    assert data.thing_ids == (1,)
    assert data.category_ids == (4, 9)
    assert data.colors[1] == (1, 2, 3)
    assert (data.ignore_label, data.label_divisor) == (255, 1000)

    code, output, error = convert(tmp_path)
    assert code == 0, error
    assert "1 images in 1 files" in output
    assert "1 instances" in output
    options = dataset_pb2.DatasetOptions()
    printed = output.splitlines()[-1].removeprefix("For a config: ")
    text_format.Parse(printed, options)
    code, output, error = run(
        "check_data",
        f"--file_pattern={options.file_pattern[0]}",
        "--dataset=mine.textproto",
        "--checksums",
        folder=tmp_path,
    )
    assert code == 0, error
    assert "No problems found" in output
    assert "1 records, 1 of them decoded and counted\n" in output
    assert (tmp_path / RECORDS / "class_pixels.json").exists()
    code, _, error = run(
        "check_data",
        f"--file_pattern={RECORDS}/val-*",
        "--dataset=mine.textproto",
        folder=tmp_path,
    )
    assert code == 0, error


@pytest.mark.slow
def test_problems_end_with_code_3_and_no_traceback(tmp_path):
    make_data(tmp_path, listed_id=1798)
    text = descriptions.describe_categories(
        str(tmp_path / "panoptic.json"), "mine"
    )
    (tmp_path / "mine.textproto").write_text(text)
    code, _, error = convert(tmp_path)
    assert code == 3
    assert "Traceback" not in error
    assert "Image 'one'" in error
    assert "segment 1799 (12 pixels) is in the PNG but not in the" in error


def test_a_tilde_is_the_home_folder_and_no_folder_of_that_name(tmp_path):
    make_data(tmp_path)
    done = subprocess.run(
        [
            sys.executable,
            str(ROOT / "data" / "describe_data.py"),
            "~/panoptic.json",
            "--output=~/mine.textproto",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PATH": "/usr/bin", "HOME": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "mine.textproto").exists()
    assert not (tmp_path / "~").exists()


@pytest.mark.parametrize(
    ("program", "flags", "message"),
    [
        ("describe_data", ["a.json", "b.json"], "Unexpected argument 'b.json'"),
        ("check_data", ["--dataset=scene"], "--file_pattern is missing"),
        ("check_data", [], "Nothing to check is given"),
        ("check_data", ["a", "b"], "Give one folder, or one JSON file, not 2"),
        ("check_data", ["a", "--dataset=b"], "Unexpected argument 'a'"),
        ("check_data", [".", f"--report={ROOT}/setup.cfg"], "is a file"),
        (
            "check_data",
            ["--dataset=scene", "--file_pattern=x"],
            'the data set "scene" is not known',
        ),
        ("convert_coco_panoptic", ["--split=a/b"], "--json is missing"),
        (
            "make_scenes",
            ["--format=png"],
            "--format=png is not one of tfrecord",
        ),
    ],
)
def test_wrong_usage_ends_with_code_2(program, flags, message):
    code, output, error = run(program, *flags)
    assert code == 2
    assert error.startswith("Error: ")
    assert message in error
    assert not output


def test_records_that_do_not_exist_are_named_without_tensorflow():
    code, _, error = run(
        "check_data", "--dataset=scenes", "--file_pattern=nowhere/train-*"
    )
    assert code == 3
    assert error.startswith("Error: File pattern 'nowhere/train-*' matches no")


def test_a_missing_flag_is_named():
    code, _, error = run("convert_coco_panoptic")
    assert code == 2
    assert error.startswith("Error: --json is missing")
    code, _, error = run("check_data", "--dataset=scenes")
    assert code == 2
    assert error.startswith("Error: --file_pattern is missing")


def test_the_divisor_fits_the_instances(tmp_path):
    path = tmp_path / "x.json"
    content = {
        "images": [],
        "categories": [{"id": n, "name": str(n)} for n in range(300)],
        "annotations": [
            {
                "image_id": 1,
                "file_name": "1.png",
                "segments_info": [
                    {"id": n, "category_id": 1} for n in range(1, 601)
                ],
            },
        ],
    }
    path.write_text(json.dumps(content))
    text = descriptions.describe_categories(str(path), "many")
    assert "label_divisor: 10000" in text
    assert "ignore_label: 65535" in text
    assert "does not say which classes are things" in text


def test_categories_without_names_are_refused(tmp_path):
    path = tmp_path / "x.json"
    for categories, part in (([], "no categories"), ([{"id": 1}], "'name'")):
        content = {"images": [], "categories": categories}
        path.write_text(json.dumps(content))
        with pytest.raises(errors.DataError, match=part):
            descriptions.describe_categories(str(path), "x")
