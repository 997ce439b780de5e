# SPDX-License-Identifier: Apache-2.0
"""The pipeline of evaluation: every record once, on a canvas."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import graph_errors
from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer

VOID = 255_000


def make_targets(panoptic_hw):
    return {"semantic": panoptic_hw // 1000}


def take(data, count):
    return list(data.take(count).as_numpy_iterator())


def get_names(batches):
    return [name.decode() for batch in batches for name in batch["name"]]


def test_evaluation_gives_each_record_once_in_order(pattern, make_evaluation):
    data = make_evaluation(pattern, targets=make_targets, batch_size=4)
    assert int(data.cardinality()) == 3
    batches = take(data, -1)
    assert [len(batch["name"]) for batch in batches] == [4, 4, 3]
    assert get_names(batches) == [f"image_{index}" for index in range(11)]
    first = batches[0]
    assert first["image"].shape == (4, 49, 49, 3)
    expected = [[20, 45], [21, 44], [22, 43], [23, 42]]
    np.testing.assert_array_equal(first["original_size"], expected)
    np.testing.assert_array_equal(first["valid_size"], expected)
    assert first["panoptic"].shape == (4, 23, 45)
    for index, (height, width) in enumerate(expected):
        label = first["panoptic"][index]
        assert (label[:height, :width] < 3000).all()
        assert (label[height:] == VOID).all()
        assert (label[:, width:] == VOID).all()
        semantic = first["targets"]["semantic"][index]
        np.testing.assert_array_equal(
            semantic[:height, :width], label[:height, :width] // 1000
        )
        assert (semantic[height:] == 255).all()


def test_evaluation_reduces_images_that_are_larger_than_the_canvas(
    pattern, make_evaluation
):
    batch = take(make_evaluation(pattern, Preprocessing((33, 17))), 1)[0]
    np.testing.assert_array_equal(batch["valid_size"], [[7, 17]])
    assert batch["image"].shape == (1, 33, 17, 3)
    assert (batch["image"][0, 7:] == 127.5).all()
    assert batch["panoptic"].shape == (1, 20, 45)


def test_each_image_can_have_its_own_canvas(pattern, make_evaluation):
    options = Preprocessing((33, 33), pad_to_multiple_of=8)
    batches = take(make_evaluation(pattern, options, make_targets), -1)
    for index, batch in enumerate(batches):
        width = 49 if 45 - index > 41 else 41
        assert batch["image"].shape == (1, 33, width, 3)
        assert batch["targets"]["semantic"].shape == (1, 33, width)


def test_canvases_that_differ_cannot_form_a_batch(pattern, make_evaluation):
    options = Preprocessing((33, 33), pad_to_multiple_of=8)
    data = make_evaluation(pattern, options, batch_size=3)
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        take(data, -1)
    message = str(graph_errors.as_data_error(caught.value))
    assert "different canvas sizes" in message
    assert "batch_size to 1" in message
    assert "image_3" in message


def test_canvases_that_agree_form_a_batch(
    tmp_path, make_evaluation, write_records
):
    pattern = write_records(tmp_path, count=5, size=(30, 50), split="val")
    options = Preprocessing((17, 17), pad_to_multiple_of=16)
    batches = take(make_evaluation(pattern, options, batch_size=3), -1)
    assert [batch["image"].shape for batch in batches] == [
        (3, 33, 65, 3),
        (2, 33, 65, 3),
    ]


def test_workers_share_the_evaluation(pattern, make_evaluation):
    names = [
        get_names(
            take(
                make_evaluation(
                    pattern,
                    batch_size=4,
                    input_context=tf.distribute.InputContext(2, index, 2),
                ),
                -1,
            )
        )
        for index in (0, 1)
    ]
    assert sorted(names[0] + names[1]) == sorted(
        f"image_{index}" for index in range(11)
    )


def test_evaluation_works_without_labels(tmp_path, make_evaluation):
    stream = io.BytesIO()
    Image.new("RGB", (9, 7)).save(stream, format="PNG")
    record = record_features.encode_example(
        name="x", image=stream.getvalue(), image_format="png", size=(7, 9)
    )
    record_writer.write_shards([record], 1, str(tmp_path), "test", 1)
    pattern = str(tmp_path / "test-*")
    batch = take(make_evaluation(pattern, is_label_required=False), 1)[0]
    assert (batch["panoptic"] == VOID).all()
    with pytest.raises(tf.errors.InvalidArgumentError, match="has no label"):
        take(make_evaluation(pattern), 1)


def test_a_maximum_above_the_canvas_is_refused(pattern, make_evaluation):
    options = Preprocessing((33, 33), max_resize=(33, 49))
    with pytest.raises(errors.ConfigError, match=r"\[33, 49\], larger than"):
        make_evaluation(pattern, options)
