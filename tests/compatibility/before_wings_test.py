# SPDX-License-Identifier: Apache-2.0
"""What versions before the wings wrote loads, and predicts as it did then.

before_wings.zip was written by the last commit before the modules moved: the
folder of a run (a tiny SWideRNet, 600 steps on `scenes`), its SavedModel, the
Keras file of its network, and what they predicted for scenes 0, 1 and 2.
"""

import pathlib
import zipfile

import keras
import numpy as np
import pytest

import deeplab2_like as d2
from deeplab2_like.scenes import scene as scene_lib

_ARCHIVE = pathlib.Path(__file__).parent / "before_wings.zip"
_SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def before(tmp_path_factory):
    folder = tmp_path_factory.mktemp("before_wings")
    with zipfile.ZipFile(_ARCHIVE) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def expected(before):
    with np.load(before / "expected.npz") as arrays:
        return dict(arrays)


def _draw(seed):
    return scene_lib.make_scene(seed, (65, 129)).image


def _check_maps(maps, expected, seed, **tolerance):
    for name in ("panoptic", "semantic"):
        differs = maps[name] != expected[f"{name}_{seed}"]
        assert differs.mean() <= tolerance.get("share", 0.0), name
    scores = maps["segment_score"][maps["segment_is_valid"]]
    np.testing.assert_allclose(scores, expected[f"score_{seed}"], atol=1e-4)


def test_a_saved_model_predicts_as_before(before, expected):
    model = d2.load_model(before / "saved")
    for seed in _SEEDS:
        _check_maps(model.predict_maps(_draw(seed)), expected, seed)


@pytest.mark.slow
def test_a_model_folder_predicts_as_before(before, expected):
    model = d2.load_model(before / "run")
    assert model.step == 600
    for seed in _SEEDS:
        outputs = model.compute_outputs(_draw(seed))
        for name, value in outputs.items():
            np.testing.assert_allclose(
                value[::2, ::2],
                expected[f"{name}_{seed}"],
                atol=1e-4 * np.abs(expected[f"{name}_{seed}"]).max(),
            )
        maps = model.predict_maps(_draw(seed))
        # The SavedModel's folded batch norms round in another order.
        _check_maps(maps, expected, seed, share=0.002)


def test_a_keras_file_predicts_as_before(before, expected):
    network = keras.saving.load_model(before / "model.keras")
    outputs = network(_draw(1)[np.newaxis])
    logits = np.asarray(outputs["semantic_logits"])[0, ::2, ::2]
    np.testing.assert_allclose(
        logits, expected["semantic_logits_1"], rtol=1e-3, atol=1e-3
    )
