# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of the server call right, refused, and wrong."""

import base64
import collections
import io
import json
import random

import httpx
import numpy as np
import pytest
from PIL import Image

from benchmarks import (
    broken_inputs,
    serving_abuse,
    serving_clients,
    serving_requests,
)
from deeplab2_like import errors


def _row(**changes):
    png = serving_requests.encode(np.zeros((200, 300, 3), np.uint8), "PNG")
    row = {
        "panoptic_png_bytes": png,
        "num_segments": np.int32(1),
        "segment_id": np.array([1, 0], np.int32),
        "segment_score": np.array([0.5, 0], np.float32),
        "segment_area": np.array([60_000, 0], np.int32),
        "height": np.int32(200),
        "width": np.int32(300),
        "error": b"",
    }
    return {**row, **changes}


def _to_json(row):
    plain = {
        name: value.decode() if isinstance(value, bytes) else value.tolist()
        for name, value in row.items()
        if name != "panoptic_png_bytes"
    }
    png = base64.b64encode(row["panoptic_png_bytes"]).decode()
    return {**plain, "panoptic_png_bytes": {"b64": png}}


def _png(**pixels):
    image = np.zeros((200, 300, 3), np.uint8)
    image[: pixels.get("rows", 0), : pixels.get("columns", 1)] = 1
    return serving_requests.encode(image, "PNG")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ""),
        ({"segment_score": np.array([0.500001, 0], np.float32)}, ""),
        ({"panoptic_png_bytes": _png(rows=3)}, ""),
        ({"segment_score": np.array([0.51, 0], np.float32)}, "segment_score"),
        ({"panoptic_png_bytes": _png(rows=200, columns=3)}, "of the map"),
        ({"panoptic_png_bytes": b""}, "a map of 0 bytes"),
        ({"num_segments": np.int32(2)}, "num_segments is 2"),
        ({"segment_area": np.array([59_000, 0], np.int32)}, "segment_area"),
        ({"error": b"Broken."}, "error is Broken."),
    ],
)
def test_rows_are_right_but_for_rounding_or_wrong(changes, words):
    found = serving_requests.compare(_to_json(_row(**changes)), _row())
    assert words in found
    assert bool(words) == bool(found)


def test_a_row_without_an_output_is_wrong():
    found = _to_json(_row())
    del found["height"]
    assert "other outputs" in serving_requests.compare(found, _row())


_REQUEST = serving_requests.make_predict("a", [b"file"], [_row()])
_RIGHT = json.dumps({"predictions": [_to_json(_row())]}).encode()
_SENTENCE = b'{"error": "Too many."}'


@pytest.mark.parametrize(
    ("answer", "outcome", "pause"),
    [
        (httpx.Response(200, content=_RIGHT), "right", 0),
        (httpx.Response(200, content=b'{"predictions": []}'), "wrong", 0),
        (httpx.Response(400, content=_SENTENCE), "wrong", 0),
        (httpx.Response(500, content=_SENTENCE), "wrong", 0),
        (
            httpx.Response(
                429, content=_SENTENCE, headers={"retry-after": "3"}
            ),
            "refused_429",
            3,
        ),
        (httpx.Response(503, content=_SENTENCE), "refused_503", 1),
        (httpx.Response(503, content=b"busy"), "wrong", 1),
        (httpx.ConnectError("a"), "no_connection", 0.1),
        (httpx.ReadError("a"), "broken_connection", 0.1),
        (httpx.ReadTimeout("a"), "late", 0.1),
    ],
)
def test_tries_are_counted_by_outcome(answer, outcome, pause):
    def handle(request):
        assert request.url.path == "/v1/models/mine:predict"
        if isinstance(answer, Exception):
            raise answer
        return answer

    tally = serving_clients.Tally()
    client = httpx.Client(
        base_url="http://a", transport=httpx.MockTransport(handle)
    )
    assert serving_clients.send(client, _REQUEST, tally) == (outcome, pause)
    assert tally.counts == collections.Counter([outcome])
    assert tally.num_images == (outcome == "right")
    assert len(tally.remarks) == (outcome in ("wrong", "late"))


def test_a_proxy_may_refuse_with_any_text():
    transport = httpx.MockTransport(lambda _: httpx.Response(500, content=b"a"))
    client = httpx.Client(base_url="http://a", transport=transport)
    tally = serving_clients.Tally()
    found = serving_clients.send(client, _REQUEST, tally, frozenset({500}))
    assert found == ("refused_500", 1)
    assert serving_clients.send(client, _REQUEST, tally) == ("wrong", 0)


def test_a_request_that_must_be_refused_is_right_with_its_status():
    tally = serving_clients.Tally()
    request = serving_requests.make_refused("a", b"{", 400)
    for content, expected in ((_SENTENCE, "right_400"), (b"a\nb", "wrong")):
        transport = httpx.MockTransport(
            lambda _, x=content: httpx.Response(400, content=x)
        )
        client = httpx.Client(base_url="http://a", transport=transport)
        assert serving_clients.send(client, request, tally)[0] == expected


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, _SENTENCE, ""),
        (503, _SENTENCE, ""),
        (500, _SENTENCE, "500"),
        (400, b"Traceback", "no JSON"),
        (400, b'{"error": ""}', "no sentence"),
        (400, b'{"error": "a\\nb"}', "no sentence"),
        (400, b'{"error": "a", "b": 1}', "alone"),
        (200, b'{"predictions": [{"error": "Broken."}]}', ""),
        (200, b'{"predictions": [{"error": "a\\nb"}]}', "no sentence"),
        (200, b'{"predictions": [[1]]}', ""),
    ],
)
def test_answers_to_broken_requests_are_checked(status, body, words):
    found = serving_abuse.check_answer(status, body)
    assert words in found
    assert bool(words) == bool(found)


def test_broken_requests_are_drawn_by_seed_and_of_all_kinds():
    first, again = (list(broken_inputs.draw(200, 1)) for _ in range(2))
    assert first == again
    assert first != list(broken_inputs.draw(200, 2))
    kinds = {request.kind for request in first}
    assert kinds == {"file", "map", "json", "tensor", "http"}


def test_files_are_changed_in_every_way():
    seeds = broken_inputs.make_seeds()
    assert len(seeds) == len(set(seeds)) == 20
    dice = random.Random(0)
    changed = [broken_inputs.mutate(seed, dice) for seed in seeds * 5]
    lengths = [
        len(new) - len(old) for new, old in zip(changed, seeds * 5, strict=True)
    ]
    assert min(lengths) < 0 < max(lengths)
    assert 0 in lengths


def test_bombs_are_small_and_say_how_large_they_are(monkeypatch):
    monkeypatch.setattr(broken_inputs, "_SIDE", 2000)
    bombs = broken_inputs.make_bombs()
    for name in ("jpeg_20000", "png_20000"):
        with Image.open(io.BytesIO(bombs[name])) as image:
            assert image.size == (2000, 2000)
            assert np.asarray(image).std() == 0
        assert len(bombs[name]) < 100_000
    with Image.open(io.BytesIO(broken_inputs.make_text_bomb(100_000))) as image:
        image.load()
        assert image.size == (16, 16)


def test_the_model_must_be_an_export(tmp_path):
    from benchmarks import served_models

    with (
        pytest.raises(errors.ExportError, match="is no SavedModel"),
        served_models.open_model(str(tmp_path), "65,65"),
    ):
        pass
