# SPDX-License-Identifier: Apache-2.0
"""Compiled post-processing of a search: how much is compiled, and when."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build as system_build
from deeplab2_like.trainer import tuning, tuning_scoring

_THRESHOLD = "evaluator_options.center_score_threshold"
_KERNEL = "evaluator_options.nms_kernel"
_LIMIT = "evaluator_options.stuff_area_limit"
_START = {_THRESHOLD: 0.1, _KERNEL: 7, _LIMIT: 0}


@pytest.fixture
def programs(tiny_run):
    options = config.load(str(tiny_run / "config.textproto")).options

    def build(settings):
        changed = tuning.with_settings(options, settings)
        scenes = descriptor_lib.load("scenes")
        return system_build.build_system(changed, scenes)

    return tuning_scoring.Programs(build({}), build)


def test_settings_that_differ_in_thresholds_share_a_program(programs):
    assert len(programs) == 0
    for changes, number in (
        ({}, 1),
        ({_THRESHOLD: 0.4}, 1),
        ({_LIMIT: 100}, 1),
        ({_KERNEL: 9}, 2),
        ({_KERNEL: 9, _THRESHOLD: 0.4}, 2),
        ({}, 2),
    ):
        programs.find({**_START, **changes})
        assert len(programs) == number, changes


@pytest.mark.slow
def test_each_size_of_canvas_is_compiled_once(programs, count_traces):
    rng = np.random.default_rng(0)
    num_classes = descriptor_lib.load("scenes").num_classes
    sizes = ((17, 33), (33, 33))
    for changes in ({}, {_THRESHOLD: 0.4}, {_LIMIT: 100}):
        postprocess = programs.find({**_START, **changes})
        for size in sizes:
            outputs = {
                "semantic_logits": rng.random((1, 5, 9, num_classes)),
                "center_heatmap": rng.random((1, 5, 9, 1)),
                "offset_map": rng.random((1, 5, 9, 2)),
            }
            segments = postprocess(
                {k: tf.constant(v, tf.float32) for k, v in outputs.items()},
                size,
                tf.constant([size]),
            )
            assert segments.panoptic.shape == (1, *size)
    assert count_traces() == len(sizes)
