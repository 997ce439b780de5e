# SPDX-License-Identifier: Apache-2.0
"""The folder of an export: what it holds, and when none is written."""

import json
import shutil

import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import initialization
from deeplab2_like.exports import exported_model, parity, saved_model, serving
from deeplab2_like.labels import descriptor


def test_the_folder_explains_itself(exported, tiny_run):
    info = exported_model.load_info(exported)
    assert info.step == 7
    assert info.experiment_name == "tiny"
    assert info.canvas_size == [65, 129]
    assert not info.jit_compile
    assert info.parity["images"] == 4
    assert info.parity["equal_pixels"] >= 0.9999
    assert exported_model.load_descriptor(exported) == descriptor.load("scenes")
    extra = exported / "assets.extra"
    assert (extra / "config.textproto").read_text() == (
        tiny_run / "config.textproto"
    ).read_text()
    readme = (exported / "README.md").read_text()
    assert "tf.saved_model.load" in readme
    assert "| 5 | car | thing | 6 |" in readme
    assert "xla" not in readme.lower()
    assert "\nat most 2385 files." in readme
    warmup = extra / "tf_serving_warmup_requests"
    requests = list(tf.data.TFRecordDataset(str(warmup)))
    # The compact signature with 1, 2 and 4 files.
    assert len(requests) == 5
    assert {file.name for file in exported.iterdir()} >= {
        "README.md",
        "saved_model.pb",
        "variables",
    }


@pytest.mark.usefixtures("_quick")
def test_an_earlier_export_is_replaced_only_on_request(
    exported, tiny_run, tmp_path, monkeypatch
):
    out = tmp_path / "saved"
    shutil.copytree(exported, out)
    (out / "mark").touch()
    with pytest.raises(errors.ExportError, match="--overwrite to replace"):
        saved_model.export(str(tiny_run), str(out))
    assert (out / "mark").exists()
    good = parity.Parity(1, 1, 1, [])
    monkeypatch.setattr(parity, "compare", lambda *_, **__: good)
    options = saved_model.ExportOptions(overwrite=True, writes_warmup=False)
    saved_model.export(str(tiny_run), str(out), options)
    assert not (out / "mark").exists()
    assert not (out / "assets.extra/tf_serving_warmup_requests").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["saved"]


def test_a_folder_of_other_things_is_never_replaced(tiny_run, tmp_path):
    (tmp_path / "thesis.tex").touch()
    options = saved_model.ExportOptions(overwrite=True)
    with pytest.raises(errors.ExportError, match="no earlier export"):
        saved_model.export(str(tiny_run), str(tmp_path), options)
    assert (tmp_path / "thesis.tex").exists()
    with pytest.raises(errors.ExportError, match="is a file"):
        saved_model.export(str(tiny_run), str(tmp_path / "thesis.tex"))


@pytest.mark.slow
@pytest.mark.usefixtures("_quick")
def test_a_model_that_differs_is_not_kept(tiny_run, tmp_path, monkeypatch):
    assign = initialization.restore_all

    def restore_other(prefix, model):
        step = assign(prefix, model)
        model.semantic_head.last_layer.kernel.assign(
            -model.semantic_head.last_layer.kernel
        )
        return step

    monkeypatch.setattr(initialization, "restore_all", restore_other)
    with pytest.raises(errors.ExportError, match="differs from the model"):
        saved_model.export(str(tiny_run), str(tmp_path / "saved"))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_one_sentence(tiny_run, tmp_path, monkeypatch):
    def save(*_):
        raise tf.errors.ResourceExhaustedError(
            None, None, "part-0; No space left on device"
        )

    monkeypatch.setattr(serving.ServingModule, "save", save)
    with pytest.raises(errors.ExportError, match=r"is full \(\d+ bytes free"):
        saved_model.export(str(tiny_run), str(tmp_path / "saved"))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_model_is_refused(tiny_run, tmp_path):
    config = (tiny_run / "config.textproto").read_text()
    other = tmp_path / "other"
    other.mkdir()
    (other / "config.textproto").write_text(
        config.replace("decoder_channels: 16", "decoder_channels: 24")
    )
    for file in tiny_run.glob("ckpt-*"):
        shutil.copy(file, other)
    with pytest.raises(errors.CheckpointError, match="does not fit the model"):
        saved_model.export(str(other), str(tmp_path / "saved"))
    assert not (tmp_path / "saved").exists()


def test_a_folder_that_is_no_run_is_one_sentence(tmp_path):
    with pytest.raises(errors.CheckpointError, match="not a model folder"):
        saved_model.export(str(tmp_path), str(tmp_path / "saved"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "missing or damaged"),
        ("{", "missing or damaged"),
        ('{"format": 1}', "missing or damaged"),
        ('{"format": 99, "versions": {"deeplab2_like": "9"}}', "newer version"),
    ],
)
def test_damaged_facts_are_one_sentence(tmp_path, text, message):
    (tmp_path / "saved_model.pb").touch()
    extra = tmp_path / "assets.extra"
    extra.mkdir()
    if text is not None:
        (extra / "export.json").write_text(text)
    with pytest.raises(errors.ExportError, match=message):
        exported_model.load_info(tmp_path)


def test_facts_are_plain_json(exported):
    text = (exported / "assets.extra" / "export.json").read_text()
    assert json.loads(text)["format"] == 1
