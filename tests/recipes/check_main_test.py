# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-check-data."""

import json
import pathlib
import subprocess
import sys

import pytest
from PIL import Image

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(folder, *arguments):
    return subprocess.run(
        [sys.executable, str(_ROOT / "data" / "check_data.py"), *arguments],
        cwd=folder,
        env={"HOME": str(folder), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_folder_gets_a_page_and_its_numbers(photos):
    pytest.importorskip("jinja2")
    done = run(photos.parent, "photos", "--report=out/check", "--samples=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Found     COCO-panoptic: ")
    assert "Images    6 of 6 (5 train, 1 val)" in done.stdout
    assert "Page      out/check/report.html" in done.stdout
    assert "No problems found." in done.stdout
    folder = photos.parent / "out" / "check"
    assert {path.name for path in folder.iterdir()} == {
        "report.html",
        "metrics.json",
    }
    metrics = json.loads((folder / "metrics.json").read_text())
    assert metrics["num_images"] == 6
    page = (folder / "report.html").read_text()
    assert page.count("<figure>") == 6
    assert "car" in page


def test_problems_are_listed_and_the_page_is_written(photos):
    pytest.importorskip("jinja2")
    first = sorted((photos / "images").iterdir())[0]
    first.write_bytes(b"x")
    done = run(photos.parent, "photos", "--report=out", "--quick")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-2] == "Error: 1 problem."
    assert "is not an image" in done.stderr
    assert "is not an image" in (photos.parent / "out/report.html").read_text()


def test_a_question_is_a_warning(tmp_path):
    photos = tmp_path / "photos"
    photos.mkdir()
    for name in "ab":
        Image.new("RGB", (40, 30)).save(photos / f"{name}.png")
        content = {
            "imagePath": f"{name}.png",
            "shapes": [
                {
                    "label": "car",
                    "points": [[3, 3], [30, 3], [30, 20]],
                    "shape_type": "polygon",
                }
            ],
        }
        (photos / f"{name}.json").write_text(json.dumps(content))
    done = run(tmp_path, "photos")
    assert done.returncode == 0, done.stderr
    assert "warning: Which of these classes are things" in done.stdout, (
        done.stdout
    )
    answered = run(tmp_path, "photos", "--things=car")
    assert "Which of these" not in answered.stdout
