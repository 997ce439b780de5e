# SPDX-License-Identifier: Apache-2.0
"""Measures the input pipeline at 1025x2049 with each random change.

    python benchmarks/augmentations.py

Records of 1024x2048 are read, decoded, changed, and given the targets of
Panoptic-DeepLab; scales are 0.5 to 2. Times are of one image. Each change is
done to every image here, except AutoAugment, which draws.
"""

import dataclasses
import io
import pathlib
import sys
import tempfile
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf
from PIL import Image

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import inputs, measuring, running  # noqa: E402
from deeplab2_like.data import (  # noqa: E402
    blur,
    color_jitter,
    copy_paste,
    pipeline,
    preprocessing,
    rotation,
)
from deeplab2_like.data.records import features, writer  # noqa: E402
from deeplab2_like.targets import center_offset  # noqa: E402

_CANVAS = (1025, 2049)
_INSTANCES = (10, 30, 100)
_IMAGES_PER_RUN = 6
_PLAIN = preprocessing.Preprocessing(
    crop_size=_CANVAS, min_scale=0.5, max_scale=2.0, scale_step=0.1
)
_CHANGES: Mapping[str, Mapping[str, Any]] = {
    "none": {},
    "scale_area_bias_1": {"scale_area_bias": 1.0},
    "scale_area_bias_-1": {"scale_area_bias": -1.0},
    "color_jitter": {
        "color_jitter": color_jitter.ColorJitter(0.4, 0.4, 0.4, 0.1)
    },
    "gray": {"gray_probability": 1.0},
    "blur": {"blur": blur.Blur(1.0)},
    "rotation": {"rotation": rotation.Rotation(10.0)},
    "autoaugment": {
        "autoaugment_policy_name": (
            "simple_classification_policy_magnitude_scale_0.2"
        )
    },
    "copy_paste": {
        "copy_paste": copy_paste.CopyPaste(1.0, 100, inputs.THING_IDS)
    },
    "none_again": {},
}
_RULES = pipeline.LabelRules(
    inputs.NUM_CLASSES, inputs.IGNORE_LABEL, inputs.LABEL_DIVISOR
)


def _write_records(folder: str) -> str:
    records = []
    for instances in _INSTANCES:
        image, panoptic = inputs.load_label(running.inputs_folder(), instances)
        stream = io.BytesIO()
        Image.fromarray(image).save(stream, format="PNG", compress_level=1)
        records.append(
            features.encode_example(
                name=str(instances),
                image=stream.getvalue(),
                image_format="png",
                size=panoptic.shape,
                panoptic=panoptic,
            )
        )
    writer.write_shards(records, len(records), folder, "train", 1)
    return f"{folder}/train-*"


def _make_targets(panoptic: tf.Tensor) -> dict[str, tf.Tensor]:
    return center_offset.compute_packed_targets(
        panoptic,
        thing_ids=inputs.THING_IDS,
        ignore_label=inputs.IGNORE_LABEL,
        label_divisor=inputs.LABEL_DIVISOR,
        sigma=8.0,
        small_instance_threshold=4096,
        small_instance_weight=3.0,
        max_class=inputs.IGNORE_LABEL,
    )


def _measure() -> Iterator[measuring.Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        pattern = _write_records(folder)
        for name, change in _CHANGES.items():
            data = pipeline.make_training_dataset(
                [pattern],
                _RULES,
                dataclasses.replace(_PLAIN, **change),
                _make_targets,
                pipeline.Reading(
                    seed=1, deterministic=True, num_parallel_calls=2
                ),
                batch_size=1,
            )
            elements = iter(data)

            def run(elements=elements):
                for _ in range(_IMAGES_PER_RUN):
                    next(elements)

            measured = measuring.per_item(
                measuring.measure(
                    f"augmentations/{name}",
                    run,
                    sizes={"height": _CANVAS[0], "width": _CANVAS[1]},
                    effort=running.effort(),
                ),
                _IMAGES_PER_RUN,
            )
            del elements, data, run
            yield measuring.with_values(
                measured, {"images_per_second": 1000 / measured.wall_ms}
            )


if __name__ == "__main__":
    running.run({"pipeline": running.Case(_measure)})
