# SPDX-License-Identifier: Apache-2.0
import tensorflow as tf
from google.protobuf import text_format

from deeplab2_like.exports import warmup_requests
from deeplab2_like.inference import buckets
from deeplab2_like.protos import config_pb2


def _choose(canvas, more=""):
    text = f"eval_dataset_options {{ crop_size: [33, 33] {more} }}"
    options = text_format.Parse(text, config_pb2.ExperimentOptions())
    built = buckets.build_preprocessings(options, canvas, 16)
    sizes = warmup_requests.choose_sizes(built, (33, 33))
    if len(built) > 1:
        for index, size in enumerate(sizes):
            assert int(buckets.choose(tf.constant(size), built)) == index
    return sizes


def test_each_canvas_has_an_image_that_uses_it():
    assert _choose("65x129") == [[33, 33]]
    assert _choose("65x129,129x257") == [[65, 129], [129, 257]]
    scaled = _choose("65x129,129x257", "input_scale_factor: 1.5")
    assert scaled == [[43, 86], [86, 171]]
    assert len(_choose("65x129,129x65,129x257")) == 3


def test_a_canvas_that_the_config_never_uses_has_none():
    sizes = _choose("65x129,129x257", "max_resize_value: [60, 60]")
    assert sizes == [[65, 129]]


def test_there_is_a_request_for_each_signature_canvas_and_batch():
    names = ["serving_default", "encoded", "encoded_compact_xla"]
    sizes = [[3, 4], [5, 6]]
    requests = list(warmup_requests.make(names, sizes, [1, 4]))
    assert len(requests) == 2 * (1 + 1 + 2)
    counts = [request.count(b"\xff\xd8\xff") for request in requests]
    assert counts == [0, 1, 1, 4] * 2
    assert b"encoded_compact_xla" in requests[3]
