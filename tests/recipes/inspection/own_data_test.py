# SPDX-License-Identifier: Apache-2.0
"""Checks of folders in the forms that users have."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.recipes import forms
from deeplab2_like.recipes.inspection import own_data, samples


def _check(folder, **options):
    return own_data.check(forms.Request(folder), **options)


def _titles(checked):
    return [f"{one.level}: {one.title}" for one in checked.check.findings]


def test_good_data_have_counts_and_no_finding(folder):
    checked = _check(folder)
    check = checked.check
    assert check.name == "streets"
    assert check.form.startswith("COCO-panoptic: ")
    assert check.findings == ()
    assert [(s.name, s.images) for s in check.splits] == [
        ("train", 8),
        ("val", 4),
    ]
    assert [s.instances for s in check.splits] == [24, 12]
    assert [one.name for one in check.classes] == ["ground", "car"]
    assert check.sizes == ((48, 64, 12),)
    image, label = checked.load(0)
    assert image.shape == (48, 64, 3)
    assert np.unique(label).tolist() == [0, 1001, 1002, 1003]


def test_processes_find_the_same_as_one(folder):
    one = _check(folder).check
    assert _check(folder, num_processes=2).check == one


def test_damaged_images_are_problems_and_others_are_counted(folder):
    (folder / "images/train/train1.png").write_bytes(b"x")
    path = folder / "panoptic/val/val2.png"
    Image.new("RGB", (10, 10)).save(path)
    check = _check(folder).check
    (problem,) = check.findings
    assert problem.level == "problem"
    assert problem.count == 2
    assert "'train1' is not an image" in problem.examples[0]
    assert "Image 'val2' has different sizes" in problem.examples[1]
    assert check.num_images == 12
    assert check.num_good == 10


def test_leaks_between_splits_are_found_in_both_ways_of_reading(folder):
    shutil.copy(
        folder / "images/train/train3.png", folder / "images/val/val1.png"
    )
    for is_quick, what in ((False, "pixels"), (True, "content of the file")):
        titles = _titles(_check(folder, is_quick=is_quick))
        assert titles[0] == (
            "warning: 1 image of a split occurs in an earlier split, too (the "
            f"same {what})."
        )
        contradiction = "warning: 1 image occurs again with another label."
        assert titles[1:] == ([] if is_quick else [contradiction])


def test_the_same_pixels_in_another_kind_of_file_are_found(folder):
    path = folder / "images/val/val1.png"
    Image.open(folder / "images/train/train3.png").save(path, compress_level=1)
    assert _check(folder).check.equal == (0, 1)
    assert _check(folder, is_quick=True).check.equal == (0, 0)


def test_a_smaller_copy_is_found_as_nearly_equal(folder):
    path = folder / "images/val/val1.png"
    image = Image.open(folder / "images/train/train3.png")
    rows = np.asarray(image).astype(int)
    noise = np.random.default_rng(0).integers(-4, 5, rows.shape)
    noisy = np.clip(rows + noise, 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(path)
    checked = _check(folder)
    assert checked.check.near == (0, 1)
    (title,) = _titles(checked)
    assert title.startswith("warning: 1 image of a split looks nearly like")
    chosen = samples.choose(checked.evidence, 4)
    assert [reason for _, reason in chosen[:2]] == [
        "nearly like val1 of another split",
        "nearly like train3 of another split",
    ]


def test_headers_give_sizes_without_classes(folder):
    check = _check(folder, is_quick=True).check
    assert check.is_quick
    assert not check.has_labels
    assert check.sizes == ((48, 64, 12),)
    assert [s.images for s in check.splits] == [8, 4]
    assert check.findings == ()


def test_headers_show_another_size_of_the_label(folder):
    Image.new("RGB", (10, 10)).save(folder / "panoptic/val/val2.png")
    (problem,) = _check(folder, is_quick=True).check.findings
    assert "the image 48x64, the label 10x10" in problem.examples[0]


def test_label_images_are_read_as_prepare_reads_them(label_images):
    check = _check(label_images).check
    assert sum(s.images for s in check.splits) == 10
    assert check.num_instances == 30
    titles = [one.title for one in check.findings]
    assert any("set aside for evaluation: one image in 5" in t for t in titles)


def test_label_images_are_paired_by_headers_without_decoding(label_images):
    for path in (label_images / "labels").iterdir():
        path.write_bytes(path.read_bytes()[:60])  # A header, and no pixels.
    (label_images / "images/extra.png").write_bytes(
        (label_images / "images/1.png").read_bytes()
    )
    check = _check(label_images, is_quick=True).check
    assert sum(s.images for s in check.splits) == 10
    assert check.sizes == ((48, 64, 10),)
    titles = [one.title for one in check.findings if one.level == "warning"]
    assert len(titles) == 1
    assert titles[0].startswith("1 images have no label image of their name")


def test_what_is_no_data_set_is_refused_in_both_ways(tmp_path):
    (tmp_path / "a.txt").write_text("x")
    for is_quick in (False, True):
        with pytest.raises(errors.DataError, match="no data set in a form"):
            _check(tmp_path, is_quick=is_quick)
        with pytest.raises(errors.DataError, match="does not exist"):
            _check(tmp_path / "nothing", is_quick=is_quick)


def test_names_that_are_no_text_are_escaped_everywhere(label_images, tmp_path):
    pytest.importorskip("jinja2")
    from deeplab2_like.recipes.inspection import writing

    name = os.fsdecode(b"\xff\n.png")
    for folder in ("images", "labels", "instances"):
        path = label_images / folder
        try:
            (path / "1.png").rename(path / name)
        except OSError:
            pytest.skip("This disk does not take such names.")
    checked = _check(label_images)
    (one,) = (f for f in checked.check.findings if f.level == "warning")
    assert one.title == "1 image names make trouble on some systems."
    assert one.examples == (
        "'\\udcff\\n' has characters that cannot be printed",
    )
    writing.write(checked, tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "\\udcff\\n" in page


def test_one_image_is_no_leak(label_images):
    for name in ("images", "labels", "instances"):
        for number in range(1, 10):
            (label_images / name / f"{number}.png").unlink()
    check = _check(label_images).check
    assert [s.images for s in check.splits] == [1, 0]
    assert check.equal == (0, 0)
