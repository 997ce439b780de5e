# SPDX-License-Identifier: Apache-2.0
"""A C++ program loads exports as TensorFlow Serving does, with equal results.

It calls `LoadSavedModel` and `Session::Run` of the installed TensorFlow, with
XLA switched off first, as the server has it. The server itself is not tested:
no package index has it.
"""

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import session_loader
from deeplab2_like import errors
from deeplab2_like.scenes import scene

pytestmark = pytest.mark.slow

_SIZES = [(65, 129), (100, 37), (200, 150)]
_IMAGES = [scene.make_scene(n, size).image for n, size in enumerate(_SIZES)]
_FILES = [tf.io.encode_png(image).numpy() for image in _IMAGES]


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    problem = session_loader.find_problem()
    if problem is not None:
        pytest.skip(problem)
    return session_loader.build(tmp_path_factory.mktemp("loader"))


def _serve(directory, signature, **inputs):
    loaded = tf.saved_model.load(str(directory))
    outputs = loaded.signatures[signature](**inputs)
    return {name: value.numpy() for name, value in outputs.items()}


def _assert_equal(found, expected):
    assert set(found) == set(expected)
    for name, value in expected.items():
        assert found[name].shape == value.shape, name
        np.testing.assert_array_equal(found[name], value, err_msg=name)


def test_maps_are_equal_without_xla(program, exported):
    pixels = [[session_loader.encode_pixels(image)] for image in _IMAGES]
    found = session_loader.run(
        program, exported, "serving_default", pixels, xla=False
    )
    for image, outputs in zip(_IMAGES, found, strict=True):
        expected = _serve(
            exported, "serving_default", images=tf.constant(image[None])
        )
        _assert_equal(outputs, expected)


def test_answers_for_files_are_equal_without_xla(program, both):
    files = [*_FILES, b"hello"]
    for signature in ("encoded_compact", "encoded_overlay"):
        (found,) = session_loader.run(
            program, both, signature, [files], xla=False
        )
        expected = _serve(both, signature, image_bytes=tf.constant(files))
        assert b"neither a JPEG" in expected["error"][3]
        _assert_equal(found, expected)


def test_compiled_twins_are_equal_with_xla_and_refuse_without(program, both):
    signature = "encoded_compact_xla"
    (found,) = session_loader.run(program, both, signature, [_FILES], xla=True)
    plain = _serve(both, "encoded_compact", image_bytes=tf.constant(_FILES))
    # XLA adds the scores up in another order.
    np.testing.assert_allclose(
        found.pop("segment_score"), plain.pop("segment_score"), rtol=1e-4
    )
    _assert_equal(found, plain)
    with pytest.raises(errors.UserError, match=r"run: .*(?i:xla|compil)"):
        session_loader.run(program, both, signature, [_FILES[:1]], xla=False)


def test_failures_are_one_sentence(program, exported, tmp_path):
    with pytest.raises(errors.UserError, match="failed: load: "):
        session_loader.run(program, tmp_path, "encoded", [[b"a"]], xla=False)
    with pytest.raises(errors.UserError, match="no signature other"):
        session_loader.run(program, exported, "other", [[b"a"]], xla=False)
    with pytest.raises(errors.UserError, match="neither a JPEG nor a PNG"):
        session_loader.run(program, exported, "encoded", [[b"a"]], xla=False)
