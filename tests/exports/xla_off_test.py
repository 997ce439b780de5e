# SPDX-License-Identifier: Apache-2.0
"""TensorFlow Serving switches XLA off: what is said, checked and refused."""

import dataclasses

import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.exports import (
    exported_model,
    readme,
    saved_model,
    serving_commands,
    xla_off,
)
from deeplab2_like.labels import descriptor
from deeplab2_like.scenes import scene

_FLAG = "--xla_cpu_compilation_enabled=true"


@pytest.mark.usefixtures("_quick")
def test_a_model_that_needs_xla_unasked_is_not_kept(
    tiny_run, tmp_path, monkeypatch
):
    def predict(*_):
        raise xla_off.WithoutXlaError("XLA compilation is disabled.")

    monkeypatch.setattr(xla_off, "predict", predict)
    with pytest.raises(
        errors.ExportError, match="does not run with XLA switch"
    ):
        saved_model.export(str(tiny_run), str(tmp_path / "saved"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.usefixtures("_quick")
def test_a_tensorflow_without_the_switch_leaves_the_check_out(
    tiny_run, tmp_path
):
    options = saved_model.ExportOptions(writes_warmup=False)
    info = saved_model.export(str(tiny_run), str(tmp_path / "saved"), options)
    assert not info.parity["without_xla"]


@pytest.mark.slow
@pytest.mark.usefixtures("_quick")
def test_other_segments_without_xla_are_a_difference(
    tiny_run, tmp_path, monkeypatch
):
    def predict(directory, image):
        serve = tf.saved_model.load(directory).signatures["serving_default"]
        found = serve(images=tf.constant(image[None]))
        outputs = {name: value.numpy() for name, value in found.items()}
        outputs["segment_is_valid"][:] = False
        return outputs

    monkeypatch.setattr(xla_off, "predict", predict)
    with pytest.raises(errors.ExportError, match="without XLA: 0 segments"):
        saved_model.export(str(tiny_run), str(tmp_path / "saved"))


def test_the_readme_of_a_compiled_export_starts_the_server_with_the_flag(
    exported,
):
    info = exported_model.load_info(exported)
    compiled = dataclasses.replace(
        info, jit_compile=True, signatures=["serving_default", "encoded"]
    )
    text = readme.make_readme(compiled, descriptor.load("scenes"))
    assert "encoded_compact" not in text
    assert f"--model_base_path=/models/tiny {_FLAG}" in text
    assert "--xla_gpu_compilation_enabled=true" in text


@pytest.mark.slow
def test_a_compiled_export_names_the_flag_and_does_not_run_without_it(
    tiny_run, tmp_path, capfd
):
    out = tmp_path / "saved"
    options = saved_model.ExportOptions(jit_compile=True, writes_warmup=False)
    info = saved_model.export(
        str(tiny_run), str(out), options, report=progress.Progress()
    )
    assert info.jit_compile
    assert not info.parity["without_xla"]
    said = capfd.readouterr().err
    assert "warning: This model is compiled by XLA" in said
    assert f"--model_base_path=/models/tiny {_FLAG}" in said
    with pytest.raises(xla_off.WithoutXlaError, match=r"(?i)xla|compil"):
        xla_off.predict(str(out), scene.make_scene(0, (64, 64)).image)


@pytest.mark.slow
def test_an_export_that_is_not_compiled_runs_without_xla(tiny_run, tmp_path):
    options = saved_model.ExportOptions(writes_warmup=False)
    info = saved_model.export(str(tiny_run), str(tmp_path / "saved"), options)
    assert info.parity["without_xla"]


def test_names_that_a_shell_would_read_are_quoted(exported):
    info = exported_model.load_info(exported)
    named = dataclasses.replace(info, experiment_name="a b", jit_compile=True)
    (remark,) = serving_commands.list_remarks(named)
    assert "--model_name='a b'" in remark
