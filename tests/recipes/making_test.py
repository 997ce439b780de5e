# SPDX-License-Identifier: Apache-2.0
"""Everything that a training needs is written, or nothing."""

import os
import shutil

import pytest

from deeplab2_like import config, errors
from deeplab2_like.config import problems
from deeplab2_like.data.records import writer
from deeplab2_like.labels import descriptor
from deeplab2_like.recipes import forms, making
from deeplab2_like.recipes.choice import Wishes
from deeplab2_like.recipes.machine import Machine
from deeplab2_like.storage import user_paths
from deeplab2_like.trainer import run_checks, run_options

PLENTY = Machine(2, 2**34, (), "Get them.")


def make(data, out, **options):
    return making.make(forms.Request(data), out, machine=PLENTY, **options)


def list_files(folder):
    return sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file()
    )


def test_a_training_finds_all_that_it_needs(scenes, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = make(scenes, "mine")
    loaded = config.load("mine/config.textproto")
    assert not [p for p in loaded.warnings if p.severity == problems.WARNING]
    run_checks.check(loaded, "run", "train_and_eval", run_options.RunOptions())
    data = descriptor.load("mine/dataset.textproto")
    assert data.name == "scenes"
    assert "car" in data.class_names
    assert made.survey.num_images == (6, 3)
    assert not made.split_rule
    assert writer.find_manifest_problems("mine/records") == []
    assert "--mode=train_and_eval" in made.commands[0]
    assert (
        f"--model=mine/run {scenes}/val --out=mine/pictures"
        in (made.commands[1])
    )


def test_one_split_is_divided_by_the_stated_rule(photos, tmp_path):
    made = make(photos, tmp_path / "mine")
    assert made.survey.num_images == (5, 1)
    text = (tmp_path / "mine" / "config.textproto").read_text()
    assert made.split_rule in text.replace("\n# ", " ")


def test_a_single_image_is_trained_and_evaluated(photos, edit, tmp_path):
    def keep_one(content):
        content["images"] = content["images"][:1]
        content["annotations"] = content["annotations"][:1]

    edit(photos / "labels.json", keep_one)
    made = make(photos, tmp_path / "mine")
    assert made.survey.num_images == (1, 1)
    assert "the only image" in made.split_rule
    assert any("very few" in remark for remark in made.remarks)


def test_folders_whose_names_are_patterns(photos, tmp_path):
    data = photos.rename(tmp_path / "my photos [v1] *")
    out = tmp_path / "it's mine"
    made = make(data, out)
    loaded = config.load(out / "config.textproto")
    (pattern,) = loaded.options.train_dataset_options.file_pattern
    assert user_paths.find_files(pattern)
    assert f"'{data}/images'" in made.commands[1]
    with pytest.raises(errors.ConfigError, match=r"contains '\['"):
        make(data, tmp_path / "mine [v1]")


def test_names_of_variables_are_refused(photos, tmp_path):
    with pytest.raises(errors.ConfigError, match="environment variable"):
        make(photos, tmp_path / "${HOME}")


def test_nothing_is_written_where_data_are_wrong(photos, edit, tmp_path):
    def spoil(content):
        content["annotations"][0]["segments_info"][0]["category_id"] = 77

    edit(photos / "labels.json", spoil)
    before = list_files(tmp_path)
    with pytest.raises(errors.DataError, match="category_id 77"):
        make(photos, tmp_path / "mine")
    assert list_files(tmp_path) == before
    assert not (tmp_path / "mine").exists()


def test_older_files_are_replaced_when_asked_and_others_stay(photos, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    make(photos, out)
    before = list_files(out)
    (out / "run").mkdir()
    (out / "run" / "checkpoint").touch()
    (out / "records" / "notes.txt").touch()
    with pytest.raises(
        errors.ConfigError, match=r"holds files already.*--over"
    ):
        make(photos, out)
    make(photos, out, overwrite=True, wishes=Wishes("panoptic_fpn"))
    assert list_files(out) == sorted(
        [*before, "run/checkpoint", "records/notes.txt"]
    )
    assert "panoptic_fpn {" in (out / "config.textproto").read_text()
    assert writer.find_manifest_problems(str(out / "records")) == []
    assert not [name for name in os.listdir(out) if name.startswith(".")]


def test_files_of_others_are_not_replaced(photos, tmp_path):
    out = tmp_path / "mine"
    out.mkdir()
    (out / "config.textproto").write_text("# my own")
    with pytest.raises(errors.ConfigError, match="not written by deeplab2-new"):
        make(photos, out, overwrite=True)
    (tmp_path / "file").touch()
    with pytest.raises(errors.ConfigError, match="is a file"):
        make(photos, tmp_path / "file", overwrite=True)


def test_a_failure_leaves_older_files(photos, tmp_path):
    out = tmp_path / "mine"
    make(photos, out)
    content = {f: (out / f).read_bytes() for f in list_files(out)}
    shutil.rmtree(photos / "images")
    (photos / "images").mkdir()
    with pytest.raises(errors.DataError):
        make(photos, out, overwrite=True)
    assert {f: (out / f).read_bytes() for f in list_files(out)} == content


def test_a_system_that_needs_things_refuses_stuff(photos, edit, tmp_path):
    def make_stuff(content):
        for category in content["categories"]:
            category["isthing"] = 0

    edit(photos / "labels.json", make_stuff)
    with pytest.raises(errors.ConfigError, match="--system=efficientps finds"):
        make(photos, tmp_path / "mine", wishes=Wishes("efficientps"))
    made = make(photos, tmp_path / "mine")
    assert made.survey.instance_sizes is None
