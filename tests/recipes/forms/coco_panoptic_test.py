# SPDX-License-Identifier: Apache-2.0
"""Folders of COCO-panoptic data are recognized however they are laid out."""

import pathlib
import shutil

import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.recipes import forms


def list_splits(data, **folders):
    """Returns the names of the images by split, after loading one of each."""
    source = forms.find_source(forms.Request(pathlib.Path(data), **folders))
    text, _ = source.describe("drawn")
    path = pathlib.Path(data).with_name("dataset.textproto")
    path.write_text(text)
    examples = source.list_examples(descriptor_lib.load(str(path)), print)
    found = {}
    for example in examples:
        found.setdefault(example.split, []).append(example.name)
    for split in found:
        example = next(e for e in examples if e.split == split)
        sample = example.load()
        classes = {*(sample.panoptic // 1000).ravel().tolist()} - {255}
        assert example.class_ids <= classes
    return {split: len(names) for split, names in found.items()}


def test_two_splits_whose_images_and_pngs_have_equal_names(scenes):
    assert list_splits(scenes) == {"train": 6, "val": 3}


def test_one_json_has_no_split(photos):
    assert list_splits(photos) == {"": 6}


def test_the_json_may_be_named(scenes):
    assert list_splits(scenes / "panoptic_val.json") == {"": 3}


def test_folders_of_coco_itself(scenes):
    annotations = scenes / "annotations"
    annotations.mkdir()
    for split in ("train", "val"):
        name = f"panoptic_{split}2017"
        (scenes / f"panoptic_{split}").rename(annotations / name)
        (scenes / f"panoptic_{split}.json").rename(annotations / f"{name}.json")
        (scenes / split).rename(scenes / f"{split}2017")
    assert list_splits(scenes) == {"train": 6, "val": 3}
    named = annotations / "panoptic_train2017.json"
    assert list_splits(named) == {"": 6}


def test_folders_of_splits_inside_of_folders_of_kinds(scenes):
    for split in ("train", "val"):
        for kind, name in (("images", split), ("labels", f"panoptic_{split}")):
            (scenes / kind).mkdir(exist_ok=True)
            (scenes / name).rename(scenes / kind / split)
    assert list_splits(scenes) == {"train": 6, "val": 3}


def test_everything_may_lie_in_other_folders_that_are_named(scenes, tmp_path):
    images = tmp_path / "i [v1]"
    shutil.move(scenes / "train", images)
    labels = shutil.move(scenes / "panoptic_train", tmp_path / "p")
    path = scenes / "panoptic_train.json"
    shutil.rmtree(scenes / "val")
    found = list_splits(
        path, image_dir=images, panoptic_dir=pathlib.Path(labels)
    )
    assert found == {"": 6}


def test_of_files_without_names_of_splits_the_larger_one_trains(scenes):
    (scenes / "panoptic_train.json").rename(scenes / "a.json")
    (scenes / "panoptic_val.json").rename(scenes / "b.json")
    assert list_splits(scenes) == {"train": 6, "val": 3}
    source = forms.find_source(forms.Request(scenes))
    assert "The larger file, a.json, is for training." in source.title


def test_a_file_for_tests_is_left_out(scenes):
    shutil.copy(scenes / "panoptic_val.json", scenes / "panoptic_test.json")
    assert list_splits(scenes) == {"train": 6, "val": 3}


def test_several_files_of_one_split_are_refused(scenes):
    shutil.copy(scenes / "panoptic_train.json", scenes / "old_train.json")
    with pytest.raises(errors.DataError, match="holds 3 COCO-panoptic JSON"):
        list_splits(scenes)


def test_two_copies_of_the_images_are_told_apart_by_the_user(photos):
    shutil.copytree(photos / "images", photos / "small")
    with pytest.raises(
        errors.DataError, match=r"images or small below.*--image"
    ):
        list_splits(photos)
    assert list_splits(photos, image_dir=photos / "small") == {"": 6}


def test_missing_images_are_asked_for(photos):
    shutil.rmtree(photos / "images")
    with pytest.raises(errors.DataError, match=r"are not below.*--image_dir"):
        list_splits(photos)


def test_pngs_of_other_ids_are_no_labels(photos):
    shutil.rmtree(photos / "masks")
    with pytest.raises(errors.DataError, match="--panoptic_dir"):
        list_splits(photos)


def test_a_folder_that_is_none_is_refused(photos):
    with pytest.raises(errors.DataError, match="is no folder"):
        list_splits(photos, image_dir=photos / "nothing")


def test_different_categories_of_the_splits_are_refused(scenes, edit):
    edit(
        scenes / "panoptic_val.json",
        lambda content: content["categories"][0].update(name="other"),
    )
    with pytest.raises(errors.DataError, match="different categories: id 1"):
        list_splits(scenes)


def test_a_split_without_annotations_is_refused(photos, edit):
    edit(photos / "labels.json", lambda c: c.update(annotations=[]))
    with pytest.raises(
        errors.DataError, match="have 12 colors, and which class each is"
    ):
        list_splits(photos)


def test_an_unknown_folder_is_described(tmp_path):
    for name in ("a.jpg", "b.jpg", "a.txt", ".hidden"):
        (tmp_path / name).touch()
    with pytest.raises(
        errors.DataError,
        match=r"holds 2 \.jpg, 1 \.txt, which is no data.*COCO",
    ):
        list_splits(tmp_path)


def test_an_empty_and_a_missing_folder_are_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(errors.DataError, match="holds no file"):
        list_splits(tmp_path / "empty")
    with pytest.raises(errors.DataError, match="does not exist"):
        list_splits(tmp_path / "missing")


def test_a_json_of_another_kind_is_described(tmp_path):
    (tmp_path / "instances.json").write_text(
        '{"images": [], "categories": [], '
        '"annotations": [{"bbox": [1, 2, 3, 4], "category_id": 1}]}'
    )
    with pytest.raises(errors.DataError, match="instances"):
        list_splits(tmp_path / "instances.json")
    (tmp_path / "data.yaml").touch()
    with pytest.raises(errors.DataError, match="holds a file of another kind"):
        list_splits(tmp_path / "data.yaml")
