# SPDX-License-Identifier: Apache-2.0
"""Decisions of Panoptic FPN are equal in eager mode, graphs and XLA."""

from unittest import mock

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.detection import anchors as anchors_lib
from deeplab2_like.detection import proposals
from deeplab2_like.model.layers import roi_align

NUM_STUFF = 5
NUM_DETECTIONS = 20


def _draw_heads(image_size, branch, rng, batch=2):
    """Draws outputs of the heads of the instance branch, and logits."""
    options = branch.options
    regions, found = options.num_proposals[1], options.max_detections
    classes = options.num_classes

    def draw(*shape, scale=1.0):
        return (scale * rng.normal(size=(batch, *shape))).astype("f4")

    levels = []
    for stride, side in zip(
        (4, 8, 16, 32, 64), options.anchor_sizes, strict=True
    ):
        size = [-(-n // stride) for n in image_size]
        anchors = anchors_lib.make_anchors(
            size, stride, [side], options.anchor_ratios
        )
        number = anchors.shape[0]
        # Halves, so that there are equal scores.
        objectness = np.round(2 * draw(number, scale=3.0)) / 2
        levels.append((objectness, draw(number, 4, scale=0.5), anchors))
    cells = rng.normal(size=(batch, found, 4, 4)).repeat(7, 2).repeat(7, 3)
    return {
        "levels": levels,
        "class_logits": draw(regions, classes + 1, scale=2.0),
        "codes": draw(regions, classes, 4, scale=2.0),
        "mask_logits": (3 * cells).astype("f4") + draw(found, 28, 28),
        "semantic_logits": draw(17, 33, 1 + NUM_STUFF, scale=2.0),
    }


def _decide(image_size, system, branch, heads):
    """Returns all results of the outputs of the heads, by name."""
    seen = {}

    def judge(_, boxes):
        seen["proposals"] = boxes
        return heads["class_logits"], heads["codes"]

    def draw(_, boxes, category):
        seen["regions of masks"] = boxes
        seen["level of regions"] = roi_align.choose_levels(boxes, 4)
        seen["classes of masks"] = category
        return heads["mask_logits"]

    levels = [proposals.Level(*level) for level in heads["levels"]]
    with (
        mock.patch.object(branch, "_predict_boxes", judge),
        mock.patch.object(branch, "_predict_masks", draw),
    ):
        outputs = branch._infer(None, levels, image_size)
    outputs["semantic_logits"] = heads["semantic_logits"]
    valid_size = tf.constant([image_size, (50, 100)])
    prediction = system.postprocess(outputs, image_size, valid_size)
    return {**seen, **outputs, **prediction.as_dict()}


@pytest.mark.parametrize(
    ("modes", "count"),
    [
        (["graph", "xla"], 2),
        (["graph", "xla", "eager"], 10),
    ],
)
@pytest.mark.slow
def test_what_follows_from_the_heads_is_equal_in_every_mode(
    fpn, built_fpn, modes, count
):
    system, model = built_fpn
    branch = model.instance_branch
    rng = np.random.default_rng(0)

    def decide(heads):
        return _decide(fpn.size, system, branch, heads)

    functions = [
        decide
        if mode == "eager"
        else tf.function(decide, jit_compile=mode == "xla", autograph=False)
        for mode in modes
    ]
    kept = 0
    for _ in range(count):
        heads = tf.nest.map_structure(
            tf.constant, _draw_heads(fpn.size, branch, rng)
        )
        results = [function(heads) for function in functions]
        kept += results[0]["segment_is_valid"].numpy()[:, :NUM_DETECTIONS].sum()
        for other in results[1:]:
            for name, value in results[0].items():
                if name == "segment_score":
                    # Scores of stuff are means.
                    np.testing.assert_array_equal(
                        value[:, :NUM_DETECTIONS],
                        other[name][:, :NUM_DETECTIONS],
                    )
                    np.testing.assert_allclose(value, other[name], rtol=1e-5)
                else:
                    np.testing.assert_array_equal(value, other[name], name)
    assert kept > 2 * count
