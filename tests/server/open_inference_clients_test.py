# SPDX-License-Identifier: Apache-2.0
"""Triton's clients and plain HTTP, against this server and NVIDIA's Triton.

The same tests pass on both, so what they ask is the protocol and not a habit of
one server. `DEEPLAB2_LIKE_PYTRITON` names the Python of an environment with
nvidia-pytriton, for example that of `python3.12 -m venv triton`; without it
those of Triton skip.
"""

import concurrent.futures
import contextlib
import os
import pathlib
import socket
import subprocess
import types

import httpx
import numpy as np
import pytest

pytest.importorskip("tensorflow_serving")
http_client = pytest.importorskip("tritonclient.http")
grpc_client = pytest.importorskip("tritonclient.grpc")

from tritonclient.utils import InferenceServerException  # noqa: E402

_PYTRITON = "DEEPLAB2_LIKE_PYTRITON"
_PROGRAM = pathlib.Path(__file__).with_name("pytriton_program.py")
_CLIENTS = {"http": http_client, "grpc": grpc_client}
_PIXELS = np.arange(2 * 4 * 6 * 3, dtype=np.uint8).reshape(2, 4, 6, 3)
_SUMS = _PIXELS.astype(int).sum((1, 2, 3)).tolist()


def _find_ports(number):
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for found in sockets:
            found.bind(("127.0.0.1", 0))
        return [found.getsockname()[1] for found in sockets]


@contextlib.contextmanager
def _run_pytriton(python):
    """Runs Triton, and gives its addresses."""
    ports = _find_ports(3)
    library = subprocess.run(
        [
            python,
            "-c",
            "import sysconfig as s; print(s.get_config_var('LIBDIR'))",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    program = subprocess.Popen(
        [python, _PROGRAM, *map(str, ports)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        # Its backend links to the library of this Python.
        env={**os.environ, "LD_LIBRARY_PATH": library},
    )
    with program:
        try:
            lines = iter(program.stdout.readline, "")
            assert any(line.strip() == "ready" for line in lines)
            yield {
                "http": f"127.0.0.1:{ports[0]}",
                "grpc": f"127.0.0.1:{ports[1]}",
            }
        finally:
            program.stdin.close()
            program.wait(60)


@pytest.fixture(scope="module")
def pytriton():
    if _PYTRITON not in os.environ:
        pytest.skip(f"{_PYTRITON} names no environment with nvidia-pytriton")
    with _run_pytriton(os.environ[_PYTRITON]) as addresses:
        yield addresses


@pytest.fixture(params=["deeplab2-serve", "pytriton"])
def server(request):
    """The addresses, and the names of the models for images and files.

    Triton's sizes of a batch stand before those of a value, so that one number
    for each image is [B, 1] there and [B] here: `column` is the rest of a
    shape.
    """
    if request.param == "pytriton":
        return types.SimpleNamespace(
            addresses=request.getfixturevalue("pytriton"),
            images="images",
            files="files",
            column=(1,),
        )
    both = request.getfixturevalue("start_both")()
    return types.SimpleNamespace(
        addresses={"http": both.http_address, "grpc": both.grpc_address},
        images="mine",
        files="mine",
        column=(),
    )


@pytest.fixture(params=["http", "grpc"])
def protocol(request):
    return request.param


@pytest.fixture
def client(server, protocol):
    found = _CLIENTS[protocol].InferenceServerClient(server.addresses[protocol])
    yield found
    found.close()


@pytest.fixture
def make_input(protocol):
    def make(name, array, datatype, **options):
        found = _CLIENTS[protocol].InferInput(name, array.shape, datatype)
        found.set_data_from_numpy(array, **options)
        return found

    return make


@pytest.fixture
def files(server):
    column = server.column
    return np.array([b"a", b"bb", b"\xff\0c"], object).reshape(3, *column)


def test_health_and_metadata(client, server, protocol):
    assert client.is_server_live()
    assert client.is_server_ready()
    assert client.is_model_ready(server.images)
    options = {"as_json": True} if protocol == "grpc" else {}
    described = client.get_server_metadata(**options)
    assert {"name", "version"} <= set(described)
    described = client.get_model_metadata(server.images, **options)
    assert described["name"] == server.images
    (entry,) = described["inputs"]
    assert (entry["name"], entry["datatype"]) == ("images", "UINT8")
    assert [int(x) for x in entry["shape"]] == [-1, -1, -1, 3]
    (entry,) = described["outputs"]
    assert (entry["name"], entry["datatype"]) == ("sum", "INT64")


def test_images(client, server, make_input):
    answer = client.infer(
        server.images,
        [make_input("images", _PIXELS, "UINT8")],
        request_id="first",
    )
    sums = answer.as_numpy("sum")
    assert (sums.dtype, sums.shape) == (np.int64, (2, *server.column))
    assert sums.reshape(-1).tolist() == _SUMS
    response = answer.get_response()
    found = response["id"] if isinstance(response, dict) else response.id
    assert found == "first"


def test_files_and_a_choice_of_outputs(
    client, server, make_input, protocol, files
):
    values = make_input("image_bytes", files, "BYTES")
    answer = client.infer(server.files, [values])
    assert answer.as_numpy("length").reshape(-1).tolist() == [1, 2, 3]
    found = answer.as_numpy("png_bytes").reshape(-1).tolist()
    assert found == [b"A", b"BB", b"\xff\0C"]
    wanted = [_CLIENTS[protocol].InferRequestedOutput("length")]
    answer = client.infer(server.files, [values], outputs=wanted)
    assert answer.as_numpy("png_bytes") is None


def test_several_clients_at_once(server, protocol, make_input):
    module, address = _CLIENTS[protocol], server.addresses[protocol]

    def ask(value):
        client = module.InferenceServerClient(address)
        pixels = np.full((1, 2, 2, 3), value, np.uint8)
        try:
            answer = client.infer(
                server.images, [make_input("images", pixels, "UINT8")]
            )
            return answer.as_numpy("sum").reshape(-1).tolist()
        finally:
            client.close()

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(ask, range(12)))
    assert sums == [[12 * value] for value in range(12)]


@pytest.mark.parametrize(
    ("name", "array", "datatype"),
    [
        ("images", _PIXELS.astype(np.float32), "FP32"),
        ("images", _PIXELS[..., :2], "UINT8"),
        ("images", _PIXELS[0], "UINT8"),
        ("pictures", _PIXELS, "UINT8"),
    ],
)
def test_wrong_inputs_are_refused(
    client, server, make_input, name, array, datatype
):
    with pytest.raises(InferenceServerException):
        client.infer(server.images, [make_input(name, array, datatype)])


def test_unknown_models_outputs_and_versions_are_refused(
    client, server, make_input, protocol
):
    values = [make_input("images", _PIXELS, "UINT8")]
    with pytest.raises(InferenceServerException):
        client.infer("unknown", values)
    with pytest.raises(InferenceServerException):
        client.infer(server.images, values, model_version="77")
    wanted = [_CLIENTS[protocol].InferRequestedOutput("unknown")]
    with pytest.raises(InferenceServerException):
        client.infer(server.images, values, outputs=wanted)


@pytest.mark.parametrize("is_nested", [False, True])
def test_json_by_plain_http(server, is_nested):
    data = _PIXELS if is_nested else _PIXELS.reshape(-1)
    answer = httpx.post(
        f"http://{server.addresses['http']}/v2/models/{server.images}/infer",
        json={
            "id": "42",
            "inputs": [
                {
                    "name": "images",
                    "shape": list(_PIXELS.shape),
                    "datatype": "UINT8",
                    "data": data.tolist(),
                }
            ],
        },
    )
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")
    document = answer.json()
    assert document["id"] == "42"
    assert document["model_name"] == server.images
    (output,) = document["outputs"]
    assert output == {
        "name": "sum",
        "datatype": "INT64",
        "shape": [2, *server.column],
        "data": _SUMS,
    }


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b'{"inputs": 1}', b'{"inputs": [{"name": 1}]}']
)
def test_broken_json_is_refused_with_a_sentence(server, body):
    answer = httpx.post(
        f"http://{server.addresses['http']}/v2/models/{server.images}/infer",
        content=body,
    )
    assert answer.status_code >= 400  # Triton has 500 for some.
    assert answer.json()["error"]
