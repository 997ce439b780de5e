# SPDX-License-Identifier: Apache-2.0
"""The application with a model that needs no TensorFlow."""

import asyncio
import base64
import concurrent.futures
import json
import logging
import random
import struct

import numpy as np
import pytest
from starlette.requests import Request

from deeplab2_like.server import failures, http_frame, limits
from deeplab2_like.server.limits import Limits

_PREDICT = "/v1/models/mine:predict"
_INFER = "/v2/models/mine/infer"


def _encode(*files):
    return [{"b64": base64.b64encode(file).decode()} for file in files]


def _compact(*files):
    return {"signature_name": "encoded_compact", "instances": _encode(*files)}


def _check_error(response, code, words):
    assert response.status_code == code, response.text
    assert response.headers["content-type"] == "application/json"
    document = response.json()
    assert list(document) == ["error"]
    assert words in document["error"]
    assert len(document["error"].splitlines()) == 1


def test_rows_and_columns(server):
    response = server.post(_PREDICT, _compact(b"a", b"bb"))
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {
        "predictions": [
            {"length": 1, "png_bytes": {"b64": "QQ=="}},
            {"length": 2, "png_bytes": {"b64": "QkI="}},
        ]
    }
    images = np.ones((1, 2, 2, 3), int).tolist()
    response = server.post(_PREDICT, {"inputs": {"images": images}})
    assert response.json() == {"outputs": [12]}


@pytest.mark.parametrize(
    "path",
    [
        "/v1/models/mine/versions/3:predict",
        "/v1/models/mine/labels/best%20one:predict",
        "/v1/models/m%69ne:PREDICT",
    ],
)
def test_models_are_named_by_version_and_label(start, path):
    server = start(labels={"best one": 3})
    assert server.post(path, _compact(b"a")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "code", "words"),
    [
        ("GET", "/v1/models", 400, "Missing model name in request."),
        ("POST", "/v1/models", 400, "Malformed request: POST /v1/models"),
        ("GET", _PREDICT, 400, f"Malformed request: GET {_PREDICT}"),
        ("POST", "/v1/models/mine", 400, "Malformed request: POST"),
        ("OPTIONS", "/v1/models/mine", 400, "Malformed request: OPTIONS"),
        ("POST", "/v1/models/mine/versions/x:predict", 400, "Malformed"),
        ("POST", "/v1/models/mine:other", 400, "Malformed request"),
        ("POST", "/v1/models/mine:classify", 501, "no signature for classify"),
        ("POST", "/v1/models/no:predict", 404, "Servable not found"),
        ("POST", "/v1/models/mine/versions/9:predict", 404, "not found"),
        ("POST", "/v1/models/mine/labels/x:predict", 404, "no label 'x'"),
        ("GET", "/v1/models/no", 404, "Latest(no)"),
        ("GET", "/v1/models/mine/versions/9", 404, "Could not find any ver"),
        ("GET", "/v1/models/mine/versions/9/metadata", 404, "not found"),
        ("POST", "/v2/models/no/infer", 404, "Servable not found"),
        ("POST", "/v2/models/mine/versions/x/infer", 404, "are numbers"),
        ("GET", _INFER, 405, "Method Not Allowed"),
        ("GET", "/other", 404, "GET /other: does not exist."),
        ("GET", "/a%0Ab", 404, "GET /a\\nb: does not exist."),
        ("GET", "/v1/models/a%08b", 404, "Latest(a\\x08b)"),
    ],
)
def test_requests_to_what_does_not_exist(server, method, path, code, words):
    response = server.client.request(method, path, content=b"{}")
    _check_error(response, code, words)


def test_the_state_of_a_model(server):
    status = {"error_code": "OK", "error_message": ""}
    expected = {
        "model_version_status": [
            {"version": "3", "state": "AVAILABLE", "status": status}
        ]
    }
    for path in ("/v1/models/mine", "/v1/models/mine/versions/3"):
        assert server.get(path).json() == expected


def test_the_metadata_of_a_model(server):
    described = server.get("/v1/models/mine/metadata").json()
    assert described["model_spec"] == {
        "name": "mine",
        "signature_name": "",
        "version": "3",
    }
    signature = described["metadata"]["signature_def"]["signature_def"]
    tensor = signature["serving_default"]["inputs"]["images"]
    assert tensor["dtype"] == "DT_UINT8"
    assert [side["size"] for side in tensor["tensor_shape"]["dim"]] == [
        "-1",
        "-1",
        "-1",
        "3",
    ]
    assert signature["encoded_compact"]["outputs"]["length"]["dtype"] == (
        "DT_INT32"
    )


def test_health_and_metadata_of_the_second_protocol(server):
    assert server.get("/v2/health/live").json() == {"live": True}
    assert server.get("/v2/health/ready").json() == {"ready": True}
    assert server.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    ready = {"name": "mine", "ready": True}
    for path in ("/v2/models/mine/ready", "/v2/models/mine/versions/3/ready"):
        assert server.get(path).json() == ready
    described = server.get("/v2/models/mine").json()
    assert described["platform"] == "tensorflow_savedmodel"
    assert described["versions"] == ["3"]
    assert described["inputs"] == [
        {"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}
    ]


def _infer_input(**changes):
    entry = {"name": "image_bytes", "shape": [1], "datatype": "BYTES"}
    return {**entry, **changes}


def test_inference_as_json(server):
    encoded = _infer_input(data=["YQ=="], parameters={"content_type": "base64"})
    response = server.post(
        _INFER, {"inputs": [encoded], "outputs": [{"name": "length"}]}
    )
    assert response.json() == {
        "model_name": "mine",
        "model_version": "3",
        "outputs": [
            {"name": "length", "shape": [1], "datatype": "INT32", "data": [1]}
        ],
    }


def test_inference_as_bytes(server):
    tail = struct.pack("<I", 3) + b"abc"
    document = json.dumps(
        {
            "inputs": [
                _infer_input(parameters={"binary_data_size": len(tail)})
            ],
            "parameters": {"binary_data_output": True},
        }
    ).encode()
    response = server.post(
        _INFER,
        document + tail,
        **{"Inference-Header-Content-Length": str(len(document))},
    )
    length = int(response.headers["Inference-Header-Content-Length"])
    names = [
        o["name"] for o in json.loads(response.content[:length])["outputs"]
    ]
    assert names == ["png_bytes", "length"]
    assert response.content[length:] == b"\3\0\0\0ABC" + b"\3\0\0\0"


def test_nothing_is_answered_before_the_model_is_loaded(start):
    server = start(is_loaded=False)
    assert server.get("/v2/health/live").status_code == 200
    assert server.get("/v2/health/ready").status_code == 503
    assert server.get("/v2/models/mine/ready").status_code == 503
    assert server.get("/v1/models/mine").status_code == 404
    response = server.post(_PREDICT, _compact(b"a"))
    _check_error(response, 503, "not loaded yet")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("is_declared", [True, False])
def test_large_requests_are_refused_before_they_are_read(start, is_declared):
    server = start(max_body_bytes=1000)

    def parts():
        for _ in range(50):
            yield bytes(1_000_000)

    headers = {"content-length": "50000000"} if is_declared else {}
    response = server.client.post(_PREDICT, content=parts(), headers=headers)
    _check_error(response, 413, "more than 1000 bytes")
    assert response.headers["connection"] == "close"


def test_compressed_requests_are_refused(server):
    response = server.post(_PREDICT, b"", **{"content-encoding": "gzip"})
    _check_error(response, 400, "not compressed")


def _send_in_background(server, model, count):
    """Sends requests that the model holds up; waits for the first."""
    model.gate.clear()
    pool = concurrent.futures.ThreadPoolExecutor(count)
    answers = [
        pool.submit(server.post, _PREDICT, _compact(b"held"))
        for _ in range(count)
    ]
    assert model.started.acquire(timeout=30)
    return answers


def test_more_requests_than_allowed_are_refused(start, model):
    server = start(max_requests=1)
    (held,) = _send_in_background(server, model, 1)
    response = server.post(_PREDICT, _compact(b"a"))
    _check_error(response, 429, "in work already")
    assert response.headers["retry-after"] == "1"
    assert server.get("/v2/health/ready").status_code == 200
    model.gate.set()
    assert held.result(30).status_code == 200
    assert server.post(_PREDICT, _compact(b"a")).status_code == 200


def test_requests_with_too_many_bytes_together_are_refused(
    start, model, monkeypatch
):
    monkeypatch.setattr(limits, "_BODIES", 1)
    server = start(max_body_bytes=200)
    (held,) = _send_in_background(server, model, 1)
    response = server.post(_PREDICT, _compact(b"a" * 60))
    _check_error(response, 429, "have 200 bytes together")
    assert response.headers["retry-after"] == "1"
    model.gate.set()
    assert held.result(30).status_code == 200
    assert server.post(_PREDICT, _compact(b"a" * 60)).status_code == 200


def test_requests_that_take_too_long_are_given_up(start, model):
    server = start(request_seconds=0.05)
    model.gate.clear()
    response = server.post(_PREDICT, _compact(b"held"))
    _check_error(response, 504, "took longer than 0.05 seconds")
    model.gate.set()


def test_clients_that_send_too_slowly_are_given_up():
    async def receive():
        await asyncio.Event().wait()

    request = Request({"type": "http", "headers": []}, receive)
    frame = http_frame.Frame(None, Limits(body_seconds=0.01), None, None)
    share = limits.Share(lambda _: None)
    with pytest.raises(failures.RequestError, match=r"within 0\.01") as caught:
        asyncio.run(frame.read_body(request, share))
    assert http_frame.make_error(caught.value).status_code == 408


def test_one_bad_request_hurts_no_other(server, model):
    held = _send_in_background(server, model, 1)
    pool = concurrent.futures.ThreadPoolExecutor(4)
    answers = [
        pool.submit(server.post, _PREDICT, _compact(file))
        for file in (b"a", b"refused", b"crash", b"bb")
    ]
    model.gate.set()
    codes = [answer.result(30).status_code for answer in answers]
    assert codes == [200, 400, 500, 200]
    assert held[0].result(30).status_code == 200
    _check_error(answers[2].result(), 500, "The model failed (MemoryError)")


@pytest.mark.parametrize("name", ["authorization", "x-api-key"])
def test_a_key_is_needed_if_there_is_one(start, name):
    server = start(api_key="a" * 20)
    scheme = "Bearer " if name == "authorization" else ""
    for key in ("", scheme + "b" * 20, "é"):
        given = {name: key.encode()} if key else {}
        response = server.client.post(_PREDICT, content=b"", headers=given)
        _check_error(response, 401, "The key is missing or wrong")
    for path in ("/v1/models/mine", "/v2", "/monitoring/prometheus/metrics"):
        assert server.get(path).status_code == 401
    for path in ("/v2/health/live", "/v2/health/ready"):
        assert server.get(path).status_code == 200
    good = {name: scheme + "a" * 20}
    response = server.post(_PREDICT, _compact(b"a"), **good)
    assert response.status_code == 200


def test_metrics_have_the_names_of_tensorflow_serving(server):
    server.post(_PREDICT, _compact(b"a"))
    server.post(_PREDICT, b"")
    server.post("/v1/models/other:predict", b"")
    response = server.get("/monitoring/prometheus/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    lines = response.text.splitlines()
    count = ":tensorflow:serving:request_count"
    assert f'{count}{{model_name="mine",status="OK"}} 1.0' in lines
    assert (
        f'{count}{{model_name="mine",status="INVALID_ARGUMENT"}} 1.0' in lines
    )
    names = {line.partition("{")[0] for line in lines if line[0] != "#"}
    prefix = ":tensorflow:serving:"
    for name in (
        "request_latency",
        "runtime_latency",
        "batching_session:queuing_latency",
        "batching_session:processed_batch_size",
    ):
        assert {
            f"{prefix}{name}_{end}" for end in ("bucket", "sum", "count")
        } <= (names)
    assert 'le="18.0"' in response.text
    assert "other" not in response.text


def test_logs_tell_what_happened_but_not_what_was_sent(
    server, caplog, monkeypatch
):
    # A program that ran before took the logs to itself.
    logger = logging.getLogger("deeplab2_like.server")
    monkeypatch.setattr(logger, "propagate", True)
    caplog.set_level(logging.INFO, "deeplab2_like.server")
    server.post(_PREDICT, {"instances": [["secret"]]})
    (record,) = [r for r in caplog.records if r.message == "Request"]
    assert record.fields["code"] == 400
    assert record.fields["status"] == "INVALID_ARGUMENT"
    assert record.fields["model"] == "mine"
    assert "secret" not in json.dumps(record.fields)


def _break_request(chance):
    """Makes a path, a body and headers of a request, broken by chance."""
    tail = struct.pack("<I", 3) + b"abc"
    infer = {
        "id": "a",
        "inputs": [_infer_input(parameters={"binary_data_size": len(tail)})],
        "outputs": [{"name": "length", "parameters": {"binary_data": True}}],
    }
    path, document, tail = chance.choice(
        [
            (_PREDICT, _compact(b"abc", b"d"), b""),
            (_PREDICT, {"inputs": {"images": [[[[1, 2, 3]]]]}}, b""),
            (_INFER, infer, tail),
        ]
    )
    text = bytearray(json.dumps(document).encode())
    headers = {}
    if tail:
        headers["Inference-Header-Content-Length"] = str(len(text))
    body = text + tail
    for _ in range(chance.randint(1, 8)):
        place = chance.randrange(len(body))
        kind = chance.randrange(4)
        if kind == 0:
            body[place] = chance.randrange(256)
        elif kind == 1:
            body[place] = chance.choice(b'{}[]",:0123456789-e')
        elif kind == 2 and len(body) > 2:
            del body[place]
        else:
            body[place:place] = body[place : place + chance.randint(1, 9)]
    if chance.random() < 0.1:
        del body[chance.randrange(len(body)) :]
    if chance.random() < 0.1:
        headers["Inference-Header-Content-Length"] = chance.choice(
            ["0", "-5", "9" * 40, "x", "1"]
        )
    if chance.random() < 0.05:
        characters = list(path)
        characters[chance.randrange(1, len(path))] = chance.choice("/:.%a0")
        path = "".join(characters)
    return path, bytes(body), headers


@pytest.mark.parametrize(
    "count", [300, pytest.param(10_000, marks=pytest.mark.slow)]
)
def test_broken_requests_get_one_sentence_each(server, count):
    chance = random.Random(0)
    num_refused = 0
    for _ in range(count):
        path, body, headers = _break_request(chance)
        response = server.post(path, body, **headers)
        if response.status_code == 200:
            continue
        num_refused += 1
        assert response.status_code in (400, 404, 405), response.text
        document = response.json()
        assert list(document) == ["error"]
        assert 0 < len(document["error"]) < 500
        assert len(document["error"].splitlines()) == 1
    assert num_refused > count / 2
    assert server.post(_PREDICT, _compact(b"a")).status_code == 200
