# SPDX-License-Identifier: Apache-2.0
"""What shards of own data depend on; needs no Apache Beam."""

import os

import pytest

from deeplab2_like.recipes import beam_own_data, forms
from deeplab2_like.recipes.published import shards
from deeplab2_like.recipes.published.pool import Pool


class _Writer:
    """Writes the shards of `train`, and fails at those of `val`."""

    def __init__(self):
        self.missing = 0

    def __call__(self, plan, descriptor, counts, advance):
        if plan.target.split == "val":
            raise InterruptedError
        self.missing = counts.count(None)
        with Pool(1) as pool:
            shards.write_here(plan, descriptor, counts, advance, pool=pool)


def _prepare(data, out):
    """Returns the number of shards of `train` that were written."""
    writer = _Writer()
    with pytest.raises(InterruptedError):
        beam_own_data.prepare(forms.Request(data), out, writer, num_shards=2)
    return writer.missing


def test_hidden_files_and_the_folder_of_the_records_do_not_matter(scenes):
    out = scenes / "prepared"
    assert _prepare(scenes, out) == 2
    (scenes / ".cache").write_text("of another program")
    (out / "records" / "notes.txt").write_text("a note")
    assert _prepare(scenes, out) == 0


def test_a_label_file_of_all_images_decides_about_all_shards(scenes, tmp_path):
    assert _prepare(scenes, tmp_path / "out") == 2
    os.utime(scenes / "panoptic_train.json", (1, 1))
    assert _prepare(scenes, tmp_path / "out") == 2


def test_an_image_decides_about_its_shard_only(scenes, tmp_path):
    assert _prepare(scenes, tmp_path / "out") == 2
    os.utime(min((scenes / "train").iterdir()), (1, 1))
    assert _prepare(scenes, tmp_path / "out") == 1
