# SPDX-License-Identifier: Apache-2.0
"""What shards of own data depend on; needs no Apache Beam."""

import os

import pytest

from deeplab2_like import errors
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


def _prepare(data, out, *, reading=None, overwrite=False):
    """Returns the number of shards of `train` that were written."""
    writer = _Writer()
    request = forms.Request(data, reading=reading or forms.Reading())
    with pytest.raises(InterruptedError):
        beam_own_data.prepare(
            request, out, writer, num_shards=2, overwrite=overwrite
        )
    return writer.missing


def test_hidden_files_and_what_is_written_do_not_matter(scenes):
    out = scenes / "prepared"
    assert _prepare(scenes, out) == 2
    (scenes / ".cache").write_text("of another program")
    os.utime(out / "dataset.textproto", (1, 1))
    assert len(list((out / "records").glob("train-*.tfrecord"))) == 2
    assert _prepare(scenes, out) == 0


@pytest.mark.parametrize("place", [".", ".."])
def test_label_files_count_where_out_holds_the_data(scenes, place):
    out = scenes / place
    assert _prepare(scenes, out, overwrite=True) == 2
    assert _prepare(scenes, out, overwrite=True) == 0
    os.utime(scenes / "panoptic_train.json", (1, 1))
    assert _prepare(scenes, out, overwrite=True) == 2


def test_label_files_outside_of_the_folder_count(scenes, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "notes.txt").write_text("of instances")
    (tmp_path / "classes.txt").write_text("of classes")
    reading = forms.Reading(
        classes=tmp_path / "classes.txt", instance_dir=outside
    )
    out = tmp_path / "out"
    assert _prepare(scenes, out, reading=reading) == 2
    assert _prepare(scenes, out, reading=reading) == 0
    os.utime(outside / "notes.txt", (1, 1))
    assert _prepare(scenes, out, reading=reading) == 2
    os.utime(tmp_path / "classes.txt", (1, 1))
    assert _prepare(scenes, out, reading=reading) == 2


def test_a_picture_of_the_user_is_kept(scenes):
    (scenes / "samples.png").write_bytes(b"a picture of the user")
    with pytest.raises(errors.ConfigError, match="not written by deeplab2"):
        beam_own_data.prepare(
            forms.Request(scenes), scenes, _Writer(), overwrite=True
        )


def test_a_label_file_of_all_images_decides_about_all_shards(scenes, tmp_path):
    assert _prepare(scenes, tmp_path / "out") == 2
    os.utime(scenes / "panoptic_train.json", (1, 1))
    assert _prepare(scenes, tmp_path / "out") == 2


def test_an_image_decides_about_its_shard_only(scenes, tmp_path):
    assert _prepare(scenes, tmp_path / "out") == 2
    os.utime(min((scenes / "train").iterdir()), (1, 1))
    assert _prepare(scenes, tmp_path / "out") == 1
