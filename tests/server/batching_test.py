# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.server import failures
from deeplab2_like.server.batching import Batcher, BatchingOptions


def _files(*files):
    array = np.empty(len(files), object)
    array[:] = files
    return {"image_bytes": array}


@pytest.fixture
def start(model):
    """Returns a function that makes a queue; the model does not run yet."""
    batchers = []

    def make(max_rows=4, max_queue=10, observe=lambda _: None):
        model.gate.clear()
        options = BatchingOptions(max_rows, max_queue)
        batchers.append(Batcher(model, options, observe))
        return batchers[-1]

    yield make
    model.gate.set()
    for batcher in batchers:
        batcher.close()


def _block(model, batcher):
    """Sends a request that the model is busy with."""
    answer = batcher.submit("encoded", _files(b"first"), 30)
    assert model.started.acquire(timeout=30)
    return answer


def _lengths(answer):
    return answer.result(30)["length"].tolist()


def test_what_waits_is_answered_in_one_call(model, start):
    batcher = start()
    first = _block(model, batcher)
    answers = [
        batcher.submit("encoded_compact", _files(*files), 30)
        for files in ([b"a"], [b"bb", b"ccc"], [b"d"], [b"ee"])
    ]
    model.gate.set()
    assert [_lengths(a) for a in answers] == [[1], [2, 3], [1], [2]]
    assert _lengths(first) == [5]
    assert model.calls == [[b"first"], [b"a", b"bb", b"ccc", b"d"], [b"ee"]]


def test_rows_that_depend_on_each_other_are_never_put_together(model, start):
    batcher = start()
    _block(model, batcher)
    answers = [
        batcher.submit("encoded", _files(file), 30) for file in (b"a", b"bb")
    ]
    model.gate.set()
    assert [_lengths(answer) for answer in answers] == [[1], [2]]
    assert model.calls[1:] == [[b"a"], [b"bb"]]


@pytest.mark.parametrize("bad", [b"refused", b"crash"])
def test_a_request_that_fails_hurts_no_other(model, start, bad):
    batcher = start()
    _block(model, batcher)
    good, broken, other = (
        batcher.submit("encoded_compact", _files(file), 30)
        for file in (b"a", bad, b"cc")
    )
    model.gate.set()
    assert _lengths(good) == [1]
    assert _lengths(other) == [2]
    with pytest.raises(failures.RequestError) as caught:
        broken.result(30)
    assert "secret" not in str(caught.value)
    assert _lengths(batcher.submit("encoded", _files(b"next"), 30)) == [4]


def test_a_request_of_many_rows_is_computed_in_parts(model, start):
    batcher = start(max_rows=2)
    model.gate.set()
    files = [b"a" * count for count in range(5)]
    answer = batcher.submit("encoded_compact", _files(*files), 30)
    assert _lengths(answer) == [0, 1, 2, 3, 4]
    assert [len(call) for call in model.calls] == [2, 2, 1]


def test_a_request_of_more_rows_than_the_model_answers_is_refused(model, start):
    batcher = start()
    files = _files(*[b"a"] * (model.max_rows + 1))
    with pytest.raises(failures.RequestError, match="101 rows"):
        batcher.submit("encoded_compact", files, 30)


def test_a_request_of_many_rows_ends_with_its_time(model, start):
    """Others wait no longer for it than for one call."""
    batcher = start(max_rows=1)
    long = batcher.submit("encoded_compact", _files(b"a", b"b", b"c"), 0.2)
    assert model.started.acquire(timeout=30)
    other = batcher.submit("encoded_compact", _files(b"dd"), 30)
    with pytest.raises(TimeoutError):
        long.result(0.3)
    model.gate.set()
    with pytest.raises(failures.RequestError, match="longer than it may"):
        long.result(30)
    assert _lengths(other) == [2]
    assert model.calls == [[b"a"], [b"dd"]]


def test_a_full_queue_refuses(model, start):
    batcher = start(max_queue=2)
    _block(model, batcher)
    for _ in range(2):
        batcher.submit("encoded_compact", _files(b"a"), 30)
    with pytest.raises(failures.RequestError, match="2 requests wait") as error:
        batcher.submit("encoded_compact", _files(b"a"), 30)
    assert error.value.kind == failures.Kind.BUSY


def test_requests_that_waited_too_long_are_not_computed(model, start):
    batcher = start()
    _block(model, batcher)
    late = batcher.submit("encoded_compact", _files(b"late"), -1)
    cancelled = batcher.submit("encoded_compact", _files(b"cancelled"), 30)
    good = batcher.submit("encoded_compact", _files(b"a"), 30)
    assert cancelled.cancel()
    model.gate.set()
    assert _lengths(good) == [1]
    with pytest.raises(failures.RequestError, match="longer than it may"):
        late.result(30)
    assert model.calls == [[b"first"], [b"a"]]


def test_closing_answers_what_waits(model, start):
    batcher = start()
    _block(model, batcher)
    answer = batcher.submit("encoded_compact", _files(b"a"), 30)
    model.gate.set()
    batcher.close()
    assert _lengths(answer) == [1]
    with pytest.raises(failures.RequestError, match="being unloaded"):
        batcher.submit("encoded_compact", _files(b"a"), 30)


@pytest.mark.parametrize(
    ("name", "inputs", "words"),
    [
        ("other", _files(b"a"), "no signature 'other'"),
        ("encoded", {}, "takes image_bytes"),
        ("encoded", {"image_bytes": np.zeros((1, 1), object)}, "must be str"),
        ("encoded", {"image_bytes": np.zeros(1, np.int32)}, "must be string"),
        (
            "serving_default",
            {"images": np.zeros((1, 2, 2, 4), np.uint8)},
            r"must be uint8 \[\?, \?, \?, 3\]",
        ),
    ],
)
def test_inputs_that_do_not_fit_are_refused_at_once(start, name, inputs, words):
    with pytest.raises(failures.RequestError, match=words):
        start().submit(name, inputs, 30)


def test_calls_are_observed(model, start):
    calls = []
    batcher = start(observe=calls.append)
    model.gate.set()
    batcher.submit("encoded_compact", _files(b"a", b"b"), 30).result(30)
    (call,) = calls
    assert call.num_rows == 2
    assert len(call.waited) == 1
