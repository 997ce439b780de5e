# SPDX-License-Identifier: Apache-2.0
import asyncio
import concurrent.futures
import threading

import numpy as np
import pytest

from deeplab2_like.server import backend, failures
from deeplab2_like.server.backend import Backend, Target
from deeplab2_like.server.batching import Batcher, BatchingOptions
from deeplab2_like.server.infer_request import InferRequest
from deeplab2_like.server.limits import Admission, Limits
from deeplab2_like.server.metrics import Metrics
from deeplab2_like.server.versions import ModelOptions, ServedModel, Store


@pytest.fixture
def served(tmp_path, model):
    served = ServedModel(
        ModelOptions("mine", tmp_path),
        lambda _: model,
        lambda loaded: Batcher(loaded, BatchingOptions(max_queue=1000)),
    )
    yield served
    model.gate.set()
    served.close()


def _replace(served, version):
    """Adds a version, which replaces the one before."""
    folder = served.options.folder / str(version)
    folder.mkdir()
    (folder / "saved_model.pb").touch()
    served.poll()


def _make_backend(served, **limits):
    limits = Limits(**limits)
    store = Store([served], 1)
    return Backend(store, limits, Admission(limits), Metrics())


def _ask(file):
    files = np.array([file], object)
    return InferRequest("encoded_compact", {"image_bytes": files}, {}, None)


def test_a_request_moves_to_the_version_that_took_over(served):
    _replace(served, 1)
    num_read = 0

    def parse(known):
        nonlocal num_read
        assert "encoded_compact" in known
        num_read += 1
        if num_read <= 3:
            # The version was chosen, and is gone before it is asked.
            _replace(served, 1 + num_read)
        return _ask(b"abc")

    target = Target("mine")
    answer = asyncio.run(_make_backend(served).predict(target, parse))
    assert answer.version == 4
    assert num_read == 4
    assert answer.outputs["length"].tolist() == [3]


@pytest.mark.parametrize(
    ("target", "end", "kind"),
    [
        (Target("mine", 1), None, failures.Kind.NOT_FOUND),
        (Target("mine"), "close", failures.Kind.UNAVAILABLE),
    ],
)
def test_a_version_that_is_gone_for_good_is_a_sentence(
    served, target, end, kind
):
    _replace(served, 1)

    def parse(_):
        if end == "close":
            served.close()
        else:
            _replace(served, 2)
        return _ask(b"abc")

    with pytest.raises(failures.RequestError) as caught:
        asyncio.run(_make_backend(served).predict(target, parse))
    assert caught.value.kind == kind


def test_no_request_is_lost_while_versions_replace_each_other(served, model):
    _replace(served, 1)
    frame = _make_backend(served)
    is_over = threading.Event()
    model.max_rows = 3

    async def send(number):
        versions = []
        while not is_over.is_set() or not versions:
            file = b"%d-%d" % (number, len(versions))
            answer = await frame.predict(
                Target("mine"), lambda _, file=file: _ask(file)
            )
            assert answer.outputs["png_bytes"].tolist() == [file]
            versions.append(answer.version)
        return versions

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        clients = [pool.submit(asyncio.run, send(n)) for n in range(4)]
        for version in range(2, 60):
            _replace(served, version)
        is_over.set()
        seen = [client.result(60) for client in clients]
    assert all(versions == sorted(versions) for versions in seen)
    assert len(set().union(*seen)) > 10
    # Each request ran once.
    files = [file for call in model.calls for file in call]
    assert len(files) == len(set(files)) == sum(map(len, seen))


@pytest.mark.parametrize(("seconds", "limit"), [(0.01, 60), (60, 0.01)])
def test_the_shorter_of_two_limits_counts(served, model, seconds, limit):
    _replace(served, 1)
    frame = _make_backend(served, request_seconds=limit)
    model.gate.clear()
    with pytest.raises(failures.RequestError, match="took longer than"):
        asyncio.run(
            frame.predict(Target("mine"), lambda _: _ask(b"a"), seconds=seconds)
        )


def test_a_defect_is_one_sentence_without_its_text():
    failure = backend.to_failure(KeyError("secret"))
    assert failure.kind == failures.Kind.INTERNAL
    assert str(failure) == "The server failed (KeyError). Please report it."
