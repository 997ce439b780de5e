# SPDX-License-Identifier: Apache-2.0
"""Which of several canvases an image is placed on."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import text_format

from deeplab2_like import errors
from deeplab2_like.inference import buckets, canvas
from deeplab2_like.protos import config_pb2

_SIZES = "65x129,129x65,129x257"


def _build(choice=_SIZES, more=""):
    text = f"eval_dataset_options {{ crop_size: [33, 33] {more} }}"
    options = text_format.Parse(text, config_pb2.ExperimentOptions())
    return buckets.build_preprocessings(options, choice, 16)


def _choose(size, built):
    return int(buckets.choose(tf.constant(size), built))


def test_the_sizes_are_in_the_order_of_their_areas():
    built = _build(" 129X257, 65x129 ,129x65")
    sizes = [canvas.static_size(options) for options in built]
    assert sizes == [(65, 129), (129, 65), (129, 257)]
    assert [options.max_resize for options in built] == sizes


def test_other_canvases_are_one_each():
    (built,) = _build("config")
    assert canvas.static_size(built) == (33, 33)
    (built,) = _build("65,129")
    assert canvas.static_size(built) == (65, 129)
    (built,) = _build("65x129")
    assert canvas.static_size(built) == (65, 129)
    (built,) = _build("fit")
    assert canvas.static_size(built) is None


@pytest.mark.parametrize(
    ("size", "index"),
    [
        ((1, 1), 0),
        ((65, 129), 0),
        ((66, 129), 2),
        ((129, 65), 1),
        ((66, 60), 1),
        ((129, 257), 2),
        # Too large for all: where they are reduced least.
        ((500, 600), 2),
        ((9000, 100), 1),
        ((100, 9000), 2),
    ],
)
def test_an_image_is_on_the_smallest_canvas_that_holds_it(size, index):
    assert _choose(size, _build()) == index


def test_an_image_too_large_in_portrait_is_on_the_canvas_in_portrait():
    built = _build("65x129,129x65")
    assert _choose((400, 200), built) == 1
    assert _choose((200, 400), built) == 0


def test_the_rule_is_that_of_a_plain_search():
    built = _build("33x257,65x129,129x65,97x97,129x257")
    sizes = [np.array(canvas.static_size(options)) for options in built]
    chance = np.random.RandomState(0)
    held = 0
    for _ in range(60):
        size = chance.randint(1, 300, 2)
        scales = [min(1.0, *(limit / size)) for limit in sizes]
        best = _choose(size, built)
        if 1.0 in scales:
            assert best == scales.index(1.0)
            held += 1
        else:  # But for the rounding to whole pixels.
            assert scales[best] > max(scales) - 2 / size.max()
    assert 20 < held < 60


def test_sizes_count_as_the_config_resizes():
    built = _build("65x129,129x257", "input_scale_factor: 2")
    assert _choose((32, 64), built) == 0
    assert _choose((33, 64), built) == 1
    built = _build("65x129,129x257", "max_resize_value: [60, 60]")
    assert _choose((500, 500), built) == 0


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("65x129,64x129", "side of 64.*take 49 or 65"),
        ("65x129,65", "has '65', which is not a size"),
        ("65x129x3", "is not a size"),
        ("65x129,", "has '', which is not a size"),
        ("65x129,65x129", "has a size twice"),
        ("-15x33", "is not a size"),
        (",".join(f"17x{17 + 16 * n}" for n in range(9)), "has 9 sizes"),
    ],
)
def test_illegal_sizes_are_one_sentence(choice, message):
    with pytest.raises(errors.ConfigError, match=message):
        _build(choice)


def test_images_run_on_the_canvas_of_their_size(monkeypatch):
    built = _build("33x65,65x129")
    made = [
        buckets.Bucket(
            options,
            tf.function(
                lambda canvas_bhw3, _: {
                    "shape": tf.shape(canvas_bhw3)[tf.newaxis]
                }
            ),
        )
        for options in built
    ]
    monkeypatch.setattr(
        "deeplab2_like.inference.any_size.restore_prediction",
        lambda prediction, *_: prediction,
    )
    predict = buckets.make_predict(None, made)
    for size, expected in (
        ((20, 60), [2, 33, 65, 3]),
        ((40, 60), [2, 65, 129, 3]),
    ):
        found = predict(tf.zeros([2, *size, 3], tf.uint8))
        assert found["shape"].numpy().tolist() == [expected]


def test_a_scope_encloses_the_network_only():
    entered = []

    class Scope:
        def __enter__(self):
            entered.append(True)

        def __exit__(self, *_):
            entered.append(False)

    layer = keras.layers.Dense(1)
    layer.build((None, 3))

    class System:
        def infer(self, model, images):
            assert entered[-1]
            return {"score": model(images)}

        def postprocess(self, *_):
            assert not entered[-1]
            raise _DoneError

    with pytest.raises(_DoneError):
        buckets.make(System(), layer, _build("33x65"), False, scope=Scope)[
            0
        ].segment.get_concrete_function()
    assert entered == [True, False]


class _DoneError(Exception):
    """Ends the tracing."""
