# SPDX-License-Identifier: Apache-2.0
import concurrent.futures

import numpy as np
import pytest

from deeplab2_like import errors, predict
from deeplab2_like.config import run_config
from deeplab2_like.console import progress
from deeplab2_like.naive_student import labeller, labelling_model
from deeplab2_like.predict import models, panoptic_model
from deeplab2_like.scenes import scene


@pytest.fixture(scope="module")
def config(tiny_run):
    return run_config.load_checked(str(tiny_run))


def _views(config, scales, is_mirrored):
    """Returns the config with the views in its evaluation."""
    from deeplab2_like import config as config_lib

    return config_lib.parse(
        config.text,
        [
            f"evaluator_options {{ eval_scales: {list(scales)} "
            f"add_flipped_images: {str(is_mirrored).lower()} }}"
        ],
    )


@pytest.mark.parametrize(
    ("scales", "is_mirrored"),
    [
        ((1.0,), False),
        pytest.param((0.75, 1.0), True, marks=pytest.mark.slow),
    ],
)
def test_labels_are_the_predictions_with_the_same_views(
    tiny_run, config, scales, is_mirrored
):
    made = labeller.LiveLabeller(
        config.options, str(tiny_run), (scales, is_mirrored)
    )
    model = panoptic_model.load_model(
        tiny_run, config=_views(config, scales, is_mirrored)
    )
    for size in ((65, 129), (50, 90), (90, 200)):
        image = scene.make_scene(3, size).image
        labels = made.label(image)
        expected = model.predict_maps(image)
        np.testing.assert_array_equal(labels.panoptic, expected["panoptic"])
        assert labels.confidence.shape == labels.panoptic.shape
        assert 0 <= labels.confidence.min() <= labels.confidence.max() <= 1
        is_void = labels.panoptic == made.descriptor.void_id
        assert not labels.confidence[is_void].any()
        if len(made.views) == 1:
            assert labels.view_classes is None
            continue
        assert labels.view_classes.shape == (4, *size)
        np.testing.assert_array_equal(labels.classes, expected["semantic"])
        assert 0 < (labels.view_classes == labels.classes).mean() <= 1


def test_the_probability_is_that_of_the_class_of_the_label(tiny_run, config):
    made = labeller.LiveLabeller(config.options, str(tiny_run))
    image = scene.make_scene(5, (65, 129)).image
    labels = made.label(image)
    logits = panoptic_model.load_model(tiny_run).compute_outputs(image)[
        "semantic_logits"
    ]
    # Corners stay on corners, so that they need no interpolation.
    weights = np.exp(logits - logits.max(-1, keepdims=True))
    probs = weights / weights.sum(-1, keepdims=True)
    for place in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        index = labels.panoptic[place] // made.descriptor.label_divisor
        if index < made.descriptor.num_classes:
            np.testing.assert_allclose(
                labels.confidence[place], probs[place][index], rtol=1e-4
            )


def test_an_exported_model_labels_with_the_views_of_its_export(exported):
    facts = models.load_facts(str(exported))
    report = progress.Progress()
    with pytest.raises(errors.ConfigError, match="--mirrored"):
        labeller.load(facts, ((), True), report)
    made = labeller.load(facts, ((), False), report)
    image = scene.make_scene(3, (50, 90)).image
    labels = made.label(image)
    assert labels.confidence is None
    model = predict.Predictor.from_saved_model(exported)
    expected = model.predict_maps(image)["panoptic"]
    np.testing.assert_array_equal(labels.panoptic, expected)


def test_the_time_of_an_image_leaves_out_the_first_and_waits(
    fake_labellers, monkeypatch
):
    now = 0.0
    times = iter([100.0, 1.0, 2.0, 3.0])

    class Slow(fake_labellers.FakeLabeller):
        def _label(self, pixels_hw3):
            nonlocal now
            now += next(times)
            return super()._label(pixels_hw3)

    monkeypatch.setattr(labelling_model.time, "monotonic", lambda: now)
    made = Slow()
    image = np.zeros((4, 4, 3), np.uint8)
    made.label(image)
    assert made.seconds == 0
    with concurrent.futures.ThreadPoolExecutor(3) as executor:
        list(executor.map(made.label, [image] * 3))
    assert made.seconds == 2
