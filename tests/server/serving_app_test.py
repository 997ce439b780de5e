# SPDX-License-Identifier: Apache-2.0
"""A real model says the same through every door."""

import base64
import io
import json
import struct

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from starlette.testclient import TestClient

from deeplab2_like.labels import coco_format
from deeplab2_like.predict.panoptic_model import load_model
from deeplab2_like.scenes import scene
from deeplab2_like.server import serving_app
from deeplab2_like.server.limits import Limits
from deeplab2_like.server.versions import ModelOptions

_IMAGE = scene.make_scene(5, (50, 70)).image
_ENDING = "_bytes"


@pytest.fixture(scope="module")
def client(exported):
    options = ModelOptions("mine", exported)
    app = serving_app.build([options], Limits(request_seconds=300))
    with TestClient(app) as client:
        model = app.state.store.get("mine")
        model.wait_until_ready(300)
        yield client


@pytest.fixture(scope="module")
def expected(tiny_run):
    """What the live model says."""
    return load_model(tiny_run).predict_maps(_IMAGE)


def _encode():
    stream = io.BytesIO()
    Image.fromarray(_IMAGE).save(stream, "PNG")
    return stream.getvalue()


def _post(client, path, body, **headers):
    if not isinstance(body, bytes):
        body = json.dumps(body).encode()
    response = client.post(path, content=body, headers=headers)
    assert response.status_code == 200, response.text
    return response


def _ask_v1(client, signature, value):
    document = {"signature_name": signature, "instances": [value]}
    response = _post(client, "/v1/models/mine:predict", document)
    return response.json()["predictions"][0]


def _ask_v2(client, entry, tail, outputs, is_binary):
    document = json.dumps(
        {
            "inputs": [entry],
            "outputs": [{"name": name} for name in outputs],
            "parameters": {"binary_data_output": is_binary},
        }
    ).encode()
    response = _post(
        client,
        "/v2/models/mine/infer",
        document + tail,
        **{"Inference-Header-Content-Length": str(len(document))},
    )
    length = response.headers.get("Inference-Header-Content-Length")
    if length is None:
        return {
            o["name"]: np.array(o["data"]).reshape(o["shape"])
            for o in response.json()["outputs"]
        }
    place = int(length)
    found = {}
    for output in json.loads(response.content[:place])["outputs"]:
        size = output["parameters"]["binary_data_size"]
        data = response.content[place : place + size]
        place += size
        if output["datatype"] == "BYTES":
            assert struct.unpack_from("<I", data)[0] == len(data) - 4
            found[output["name"]] = data[4:]
            continue
        dtype = {"INT32": "<i4", "FP32": "<f4"}[output["datatype"]]
        values = np.frombuffer(data, dtype)
        found[output["name"]] = values.reshape(output["shape"])
    assert place == len(response.content)
    return found


@pytest.mark.slow
def test_every_door_gives_the_maps_of_the_live_model(
    client, exported, expected
):
    loaded = tf.saved_model.load(str(exported))
    found = loaded.signatures["serving_default"](images=_IMAGE[np.newaxis])
    pixels = {
        "name": "images",
        "shape": [1, *_IMAGE.shape],
        "datatype": "UINT8",
    }
    as_json = {**pixels, "data": _IMAGE.reshape(-1).tolist()}
    as_bytes = {**pixels, "parameters": {"binary_data_size": _IMAGE.size}}
    file = _encode()
    b64 = {"b64": base64.b64encode(file).decode()}
    answers = [
        {name: value.numpy()[0] for name, value in found.items()},
        _ask_v1(client, "serving_default", _IMAGE.tolist()),
        _ask_v1(client, "encoded", b64),
        _ask_v2(client, as_json, b"", ["panoptic", "semantic"], False),
        _ask_v2(client, as_bytes, _IMAGE.tobytes(), ["panoptic"], True),
    ]
    for answer in answers:
        for name in {"panoptic", "semantic"} & set(answer):
            map_hw = np.asarray(answer[name]).reshape(_IMAGE.shape[:2])
            np.testing.assert_array_equal(map_hw, expected[name])


@pytest.mark.slow
def test_small_answers_are_the_same_by_every_door(client, exported):
    file = _encode()
    result = load_model(exported).predict(_IMAGE)
    size = len(file) + 4
    entry = {
        "name": "image_bytes",
        "shape": [1],
        "datatype": "BYTES",
        "parameters": {"binary_data_size": size},
    }
    tail = struct.pack("<I", len(file)) + file
    outputs = ["panoptic_png_bytes", "segment_area"]
    b64 = {"b64": base64.b64encode(file).decode()}
    row = _ask_v1(client, "encoded_compact", b64)
    by_json = _ask_v2(client, entry, tail, outputs, False)
    by_bytes = _ask_v2(client, entry, tail, outputs, True)
    pngs = [
        base64.b64decode(row["panoptic_png_bytes"]["b64"]),
        base64.b64decode(by_json["panoptic_png_bytes"].item()),
        by_bytes["panoptic_png_bytes"],
    ]
    for png in pngs:
        with Image.open(io.BytesIO(png)) as image:
            numbers = coco_format.decode_ids(np.asarray(image))
        np.testing.assert_array_equal(numbers, result.segmentation)
    areas = [info["area"] for info in result.segments_info]
    assert row["num_segments"] == len(areas)
    for column in (row["segment_area"], by_bytes["segment_area"][0]):
        assert list(column[: len(areas)]) == areas


@pytest.mark.slow
def test_a_damaged_file_is_a_sentence(client):
    damaged = {"b64": base64.b64encode(_encode()[:200]).decode()}
    row = _ask_v1(client, "encoded_compact", damaged)
    assert "is damaged" in row["error"]
    for signature in ("encoded", "serving_default"):
        response = client.post(
            "/v1/models/mine:predict",
            json={"signature_name": signature, "instances": [damaged]},
        )
        assert response.status_code == 400
        assert len(response.json()["error"].splitlines()) == 1


@pytest.mark.slow
def test_the_page_is_told_the_classes_of_the_model(client):
    (listed,) = client.get("/page/models").json()["models"]
    assert listed["has_compact"]
    assert listed["data_set"] == "scenes"
    names = [entry["name"] for entry in listed["classes"]]
    assert names == list(scene.CLASS_NAMES)
