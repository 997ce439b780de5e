# SPDX-License-Identifier: Apache-2.0
"""The comparison of all ways to ask a model counts what differs."""

import types

import numpy as np
import pytest

from benchmarks import (
    answer_maps,
    answer_servers,
    answer_ways,
    answers_agree,
)
from deeplab2_like.server import open_inference
from deeplab2_like.server.signatures import Signature, TensorInfo

_MAPS = [np.array([[1, 2], [0, 0]]), np.array([[3, 3, 3]])]
_SUBJECT = types.SimpleNamespace(info=types.SimpleNamespace(max_rows=10))


def _way(maps, sizes, problem=None):
    """A way that answers with maps, and writes the sizes of its requests."""

    def open_way(_):
        if problem:
            raise answer_maps.LeftOutError(problem)

        def ask(files):
            sizes.append(len(files))
            return [maps[int(file)] for file in files]

        yield ask

    return open_way


def test_each_way_is_compared_with_the_first():
    sizes = []
    other = [np.array([[1, 2], [0, 7]]), np.array([[3, 3, 3]])]
    turned = [_MAPS[0], np.array([[3], [3], [3]])]
    ways = {
        "first": answer_ways.Entry(_way(_MAPS, sizes)),
        "other": answer_ways.Entry(_way(other, sizes), takes_any_sizes=True),
        "turned": answer_ways.Entry(_way(turned, sizes)),
        "none": answer_ways.Entry(_way([], sizes, "it is not installed")),
    }
    rows = list(answers_agree.compare_ways(ways, _SUBJECT, [b"0", b"1"], 2))
    assert [(row.way, row.identical, row.differing) for row in rows] == [
        ("first", 2, 0),
        ("other", 1, 1),
        ("other, 2 at once", 1, 1),
        ("turned", 1, 3),
        ("none", 0, 0),
    ]
    assert {row.pixels for row in rows[:4]} == {7}
    assert sizes == [1, 1, 1, 1, 2, 1, 1]
    table = answers_agree.make_table(rows).splitlines()
    assert table[-1].split(None, 1)[1] == "left out: it is not installed"
    assert "1/2" in table[2]
    assert "14.2857%" in table[2]


def test_maps_are_numbered_in_the_order_of_their_table():
    outputs = {
        "semantic": np.array([[[3, 5, 255]]]),
        "panoptic": np.array([[[3000, 5001, 255_000]]]),
        "segment_id": np.array([[5001, 0, 3000]]),
        "segment_is_valid": np.array([[True, False, True]]),
    }
    (found,) = answer_maps.number_maps(outputs, 1000)
    assert found.tolist() == [[2, 1, 0]]
    del outputs["panoptic"]
    outputs["segment_id"][0, 0] = 5000
    (found,) = answer_maps.number_maps(outputs, 1000)
    assert found.tolist() == [[2, 1, 0]]


@pytest.mark.parametrize("is_binary", [True, False])
def test_requests_of_version_2_are_read_by_the_server(is_binary):
    files = [b"\xff\xd8 a", b"", b"\x89PNG"]
    known = {
        "encoded_compact": Signature(
            {"image_bytes": TensorInfo("string", (None,))},
            {
                "panoptic_png_bytes": TensorInfo("string", (None,)),
                "error": TensorInfo("string", (None,)),
                "segment_id": TensorInfo("int32", (None, 2)),
            },
            True,
        )
    }
    wanted = ("panoptic_png_bytes", "error", "segment_id")
    body, headers = answer_servers.encode_v2(
        files, "encoded_compact", wanted, is_binary
    )
    length = headers.get("Inference-Header-Content-Length")
    asked = open_inference.parse_infer(body, length, known)
    assert asked.inputs["image_bytes"].tolist() == files
    outputs = {
        "panoptic_png_bytes": np.array(files, object),
        "error": np.array([b"", b"bad", b""], object),
        "segment_id": np.array([[1, 2], [0, 0], [1, 0]], np.int32),
    }
    answer, length = open_inference.format_infer(asked, outputs, "m", 1)
    answer = answer if isinstance(answer, bytes) else answer.encode()
    found = answer_servers.decode_v2(
        answer, None if length is None else str(length)
    )
    assert found["panoptic_png_bytes"].tolist() == files
    np.testing.assert_array_equal(found["segment_id"], outputs["segment_id"])
