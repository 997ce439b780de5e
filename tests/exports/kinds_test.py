# SPDX-License-Identifier: Apache-2.0
"""Exports with several canvases, compiled twins, and weights in 16 bits."""

import hashlib
import json
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.exports import agreement, exported_model, saved_model
from deeplab2_like.exports import parity as parity_lib
from deeplab2_like.predict import panoptic_model
from deeplab2_like.predict.predictor import Predictor
from deeplab2_like.scenes import scene
from deeplab2_like.server.model import SavedModel

_CANVASES = "65x129,129x257"
_IMAGES = [
    scene.make_scene(seed, size).image
    for seed, size in enumerate([(65, 129), (100, 37), (129, 257), (300, 200)])
]
_FILES = [tf.io.encode_png(image).numpy() for image in _IMAGES]


@pytest.mark.slow
def test_compiled_twins_and_canvases_live_in_one_export(both, tiny_run):
    info = exported_model.load_info(both)
    plain = ["serving_default", "encoded", "encoded_compact", "encoded_overlay"]
    assert info.signatures == plain + [f"{name}_xla" for name in plain]
    assert not info.jit_compile
    assert info.canvas_size is None
    assert info.canvas_sizes == [[65, 129], [129, 257]]
    assert info.parity["without_xla"]
    readme = (both / "README.md").read_text()
    assert "`encoded_compact_xla`" in readme
    assert "65 x 129, 129 x 257" in readme
    warmup = both / "assets.extra/tf_serving_warmup_requests"
    requests = list(tf.data.TFRecordDataset(str(warmup)).as_numpy_iterator())
    assert len(requests) == 2 * 2 * (2 + 2 * len(info.batch_sizes))
    loaded = tf.saved_model.load(str(both)).signatures
    live = panoptic_model.load_model(tiny_run, canvas_size=_CANVASES)
    for image in _IMAGES:
        expected = live.predict_maps(image)["panoptic"]
        for name in ("serving_default", "serving_default_xla"):
            found = loaded[name](images=tf.constant(image[None]))["panoptic"]
            assert np.mean(found[0].numpy() == expected) > 0.999
    together = {
        name: loaded[name](image_bytes=tf.constant(_FILES))
        for name in ("encoded_compact", "encoded_compact_xla")
    }
    for name, value in together["encoded_compact"].items():
        other = together["encoded_compact_xla"][name]
        if name == "segment_score":  # XLA adds up in another order.
            np.testing.assert_allclose(value, other, rtol=1e-4)
        else:
            np.testing.assert_array_equal(value, other)


@pytest.mark.slow
def test_programs_that_load_it_know_its_canvases(both):
    served = SavedModel(both)
    assert served.max_rows == 20_000_000 // (129 * 257)
    independent = {
        name
        for name, signature in served.signatures.items()
        if signature.has_independent_rows
    }
    assert independent == {
        f"encoded_{kind}{end}"
        for kind in ("compact", "overlay")
        for end in ("", "_xla")
    }
    predictor = Predictor.from_saved_model(both)
    predictor.warm_up()
    assert predictor.predict(_IMAGES[2]).width == 257


def _count_bytes(folder):
    variables = pathlib.Path(folder) / "variables"
    return sum(file.stat().st_size for file in variables.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("weights", ["bfloat16", "float16"])
def test_short_weights_take_half_the_space_and_agree(
    exported, tiny_run, tmp_path, capfd, monkeypatch, weights
):
    # Random weights decide by less than trained ones.
    monkeypatch.setitem(agreement.MIN_AGREEMENT, weights, 0.5)
    out = tmp_path / "saved"
    options = saved_model.ExportOptions(weights=weights, writes_warmup=False)
    info = saved_model.export(str(tiny_run), str(out), options)
    assert info.weights == weights
    assert info.parity["equal_pixels"] > 0.9999
    assert 0.5 < info.parity["agreement"] < 1
    assert _count_bytes(out) < 0.62 * _count_bytes(exported)
    assert f"With weights of {weights} it segments" in capfd.readouterr().err
    assert f"stored as {weights}" in (out / "README.md").read_text()


def test_weights_that_agree_too_little_are_refused():
    parity = parity_lib.Parity(1, 9, 9, [], agreement=0.97)
    parity_lib.require_agreement(parity, "bfloat16")
    with pytest.raises(errors.ExportError, match=r"(?s)97.00% .* least 99%"):
        parity_lib.require_agreement(parity, "float16")


def test_the_classes_are_listed_for_other_programs(exported):
    extra = exported / "assets.extra"
    classes = json.loads((extra / "classes.json").read_text())
    assert classes[5]["name"] == "car"
    assert classes[5]["isthing"]
    assert classes[5]["category_id"] == 6
    assert [entry["class"] for entry in classes] == list(range(len(classes)))
    assert all(len(entry["color"]) == 3 for entry in classes)


def test_the_hash_is_that_of_the_file_of_the_config(exported):
    data = (exported / "assets.extra/config.textproto").read_bytes()
    info = exported_model.load_info(exported)
    assert info.config_sha256 == hashlib.sha256(data).hexdigest()
    assert info.config_sha256 in (exported / "README.md").read_text()


def test_facts_of_earlier_exports_are_read(exported, tmp_path):
    (tmp_path / "saved_model.pb").touch()
    extra = tmp_path / "assets.extra"
    extra.mkdir()
    values = json.loads((exported / "assets.extra/export.json").read_text())
    for name in ("signatures", "canvas_sizes", "warmup_sizes", "batch_sizes"):
        del values[name]
    (extra / "export.json").write_text(json.dumps(values))
    info = exported_model.load_info(tmp_path)
    assert info.fixed_sizes == info.typical_sizes == [[65, 129]]
    assert info.max_rows == 2385
    assert info.weights == "float32"
