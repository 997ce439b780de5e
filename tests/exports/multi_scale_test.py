# SPDX-License-Identifier: Apache-2.0
"""Exported models average the views that the config asks for."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.config import run_config
from deeplab2_like.exports import saved_model
from deeplab2_like.scenes import scene


@pytest.mark.slow
@pytest.mark.parametrize("canvas", ["config", "fit"])
def test_the_saved_model_averages_scales_and_mirrored_images(
    tiny_run, exported, tmp_path, canvas
):
    config = run_config.load_checked(
        str(tiny_run),
        ["evaluator_options { eval_scales: 0.5 add_flipped_images: true }"],
    )
    images = [("scene", scene.make_scene(3, (65, 129)).image)]
    # It is compared with the live model before it is kept.
    info = saved_model.export(
        str(tiny_run),
        str(tmp_path / "saved"),
        saved_model.ExportOptions(canvas=canvas, writes_warmup=False),
        config=config,
        images=images,
    )
    assert info.parity["equal_pixels"] >= 0.9999
    image = tf.constant(scene.make_scene(1, (65, 129)).image[None])

    def predict(folder):
        loaded = tf.saved_model.load(str(folder))
        return loaded.signatures["serving_default"](images=image)

    averaged = predict(tmp_path / "saved")
    single = predict(exported)
    assert averaged.keys() == single.keys()
    assert averaged["semantic"].shape == single["semantic"].shape
    different = np.mean(averaged["semantic"] != single["semantic"])
    assert 0 < different < 0.9
