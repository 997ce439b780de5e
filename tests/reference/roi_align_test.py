# SPDX-License-Identifier: Apache-2.0
"""RoIAlign equals a slow one in float64."""

import re

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.model.layers import roi_align

FAMILY = "roi_align"
_OUTPUT = re.compile(r"out_(\d+)_sr(\d+)_aligned(\d)")


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_regions_equal_the_reference(reference_case, mode):
    with reference_case() as case:
        features = np.moveaxis(case.input("features_chw"), 0, -1)
        rois = case.input("rois_xyxy_image")[:, [1, 0, 3, 2]]
        scale = float(case.input("spatial_scale"))
        most = np.abs(rois[:, 2:] - rois[:, :2]).max(initial=0.0) * scale
        for name in case.names():
            match = _OUTPUT.fullmatch(name)
            if not match:
                continue
            bins, points, is_aligned = map(int, match.groups())
            sampling = roi_align.Sampling(
                bins,
                points=points or max(1, int(np.ceil(most / bins))),
                is_adaptive=points == 0,
                is_aligned=bool(is_aligned),
            )

            def align(features, boxes, sampling=sampling):
                return roi_align.align_regions(
                    [features],
                    boxes,
                    tf.zeros(tf.shape(boxes)[:2], tf.int32),
                    strides=[1.0 / scale],
                    sampling=sampling,
                )

            if mode != "eager":
                align = tf.function(align, jit_compile=mode == "xla")
            pooled = align(
                tf.constant(features[None], tf.float32),
                tf.constant(rois[None], tf.float32),
            )
            actual = np.moveaxis(pooled[0].numpy(), -1, 1)
            size = np.abs(features).max(initial=0.0)
            case.compare(name, actual, rtol=1e-5, atol=1e-5 * size)
