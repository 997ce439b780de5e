# SPDX-License-Identifier: Apache-2.0
import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import many_images
from deeplab2_like import errors
from deeplab2_like.recipes import forms, preparing


def test_labels_are_drawn_by_number():
    first, again, other = map(many_images.draw_label, (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    image = many_images.draw_image(first, 3)
    assert image.shape == (24, 32, 3)
    assert image.dtype == np.uint8


@pytest.mark.parametrize("form", ["coco-panoptic", "label-images"])
def test_the_drawn_data_are_read(form, tmp_path):
    many_images.write_data(tmp_path, 6, form)
    commands = many_images.list_commands(tmp_path, form, 1)
    assert ("score" in commands) == (form == "coco-panoptic")
    if form == "coco-panoptic":
        found = preparing.look(forms.Request(tmp_path / "data"))
        assert sum(found.num_images.values()) == 6
        truth = json.loads((tmp_path / "data/labels.json").read_text())
        predicted = json.loads((tmp_path / "predicted.json").read_text())
        assert truth["images"] == predicted["images"]


@pytest.mark.slow
@pytest.mark.parametrize("form", ["coco-panoptic", "label-images"])
def test_all_programs_run_on_the_drawn_data(form, tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            many_images.__file__,
            "--sizes=8,16",
            f"--form={form}",
            f"--out={tmp_path / 'steps.json'}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    steps = json.loads((tmp_path / "steps.json").read_text())
    assert len(steps) == (10 if form == "coco-panoptic" else 8)
    assert "| prepare | 16 |" in done.stdout


def test_the_table_says_what_each_more_image_takes():
    steps = [
        many_images.Step("check", count, 1.0, 2.0, peak)
        for count, peak in ((1000, 100.0), (2000, 101.0))
    ]
    table = many_images.make_table(steps)
    assert "| check | 1000 | 1.0 | 2.0 | 2.00 | 100 |  |" in table
    assert "| check | 2000 | 1.0 | 2.0 | 1.00 | 101 | 1049 |" in table


def test_a_program_that_fails_is_one_sentence():
    with pytest.raises(errors.DataError, match="'x' failed"):
        many_images.run_step("x", ["recipes.no_such_program"], 1)
