# SPDX-License-Identifier: Apache-2.0
"""Post-processing of EfficientPS: fused masks become segments."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.postprocess import efficientps, options
from deeplab2_like.postprocess.objects import Objects

SIZE = (70, 90)


@pytest.fixture(scope="module")
def postprocess_case(fusion_classes):
    """Returns a function that processes a dictionary of its inputs."""

    def process(case):
        objects = Objects(
            case["boxes"],
            case["channel"],
            case["score"],
            case["score"] > 0,
            case["masks"],
        )
        return efficientps.postprocess(
            case["logits"],
            objects,
            canvas_size=SIZE,
            valid_size=case["valid_size"],
            class_rules=fusion_classes,
            fusion_rules=options.FusionRules(),
        )

    return process


@pytest.fixture(scope="module")
def postprocess(postprocess_case):
    """Returns a function that processes a batch of cases."""
    compiled = {
        mode: tf.function(
            postprocess_case, jit_compile=mode == "xla", autograph=False
        )
        for mode in ("graph", "xla")
    }

    def process(cases, mode="graph"):
        return compiled[mode](
            {
                name: tf.constant(np.stack([case[name] for case in cases]))
                for name in cases[0]
            }
        )

    return process


def test_segments_are_named_and_counted(postprocess, make_one_object):
    case = make_one_object(8.0, 8.0, 0.0)
    case["logits"][:, :, 3] = 1.0
    case["logits"][:, :12, 1] = 2.0
    case["logits"][:, 12:, 2] = 2.0
    prediction = postprocess([case])
    panoptic = prediction.panoptic.numpy()[0]
    assert set(np.unique(panoptic)) == {100, 200, 301}
    is_row = prediction.segment_is_valid.numpy()[0]
    assert prediction.segment_area.numpy()[0][is_row].sum() == panoptic.size
    for row in np.nonzero(is_row)[0]:
        segment = prediction.segment_id.numpy()[0][row]
        area = prediction.segment_area.numpy()[0][row]
        assert area == np.sum(panoptic == segment)


def test_a_thing_class_without_an_instance_is_void(
    postprocess, make_one_object, fusion_classes
):
    case = make_one_object(8.0, 8.0, 0.0)
    case["score"][:] = 0.1
    prediction = postprocess([case])
    assert not prediction.segment_is_valid.numpy().any()
    np.testing.assert_array_equal(prediction.panoptic, fusion_classes.void_id)
    np.testing.assert_array_equal(prediction.semantic, 255)


def test_little_stuff_is_void(postprocess, make_one_object, fusion_classes):
    case = make_one_object(-8.0, -8.0, 0.0)
    case["logits"][..., 1] = 1.0
    case["logits"][0, 0, 2] = 9.0
    prediction = postprocess([case])
    void = prediction.panoptic.numpy()[0] == fusion_classes.void_id
    assert 0 < void.sum() < fusion_classes.stuff_area_limit
    assert void[0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["graph", "xla"])
def test_a_batch_gives_what_its_images_give(
    mode, postprocess, make_fusion_case
):
    rng = np.random.default_rng(3)
    cases = [make_fusion_case(rng) for _ in range(2)]
    alone = [postprocess([case], mode) for case in cases]
    together = postprocess(cases, mode)
    for name, value in together.as_dict().items():
        for image, single in enumerate(alone):
            np.testing.assert_array_equal(
                value[image], single.as_dict()[name][0], err_msg=name
            )


def test_numpy_arrays_give_the_same_as_tensors(
    postprocess, postprocess_case, make_fusion_case
):
    case = make_fusion_case(np.random.default_rng(4))
    expected = postprocess([case])
    wide = {"f": np.float64, "i": np.int64}
    actual = postprocess_case(
        {
            name: value[np.newaxis].astype(wide[value.dtype.kind])
            for name, value in case.items()
        }
    )
    for name, value in expected.as_dict().items():
        other = actual.as_dict()[name]
        if name == "segment_score":
            np.testing.assert_allclose(other, value, rtol=1e-5)
        else:
            np.testing.assert_array_equal(other, value, err_msg=name)
