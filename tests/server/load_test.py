# SPDX-License-Identifier: Apache-2.0
"""The program under load, as benchmarks/serving_load.py drives it for long."""

import contextlib
import shutil

import httpx
import pytest

from benchmarks import (
    broken_inputs,
    server_process,
    serving_abuse,
    serving_clients,
    serving_requests,
)

pytestmark = pytest.mark.slow

_CLIENTS = 6


@pytest.fixture(scope="module")
def requests(exported):
    """Requests with the answers of the model, and refusals."""
    answers = serving_requests.Answers(exported)
    files = {
        **serving_requests.draw_files(),
        **serving_requests.draw_broken_files(),
    }
    # The largest takes long, and is no case of its own for a small canvas.
    del files["513x1025.jpg"]
    found = [
        serving_requests.make_predict(name, [file], answers.predict(file))
        for name, file in files.items()
    ]
    return [*found, serving_requests.make_refused("no_json", b"{", 400)]


def _assert_right(tally):
    assert tally.counts[serving_clients.WRONG] == 0, tally.remarks
    assert tally.counts[serving_clients.LATE] == 0


def test_more_clients_than_allowed_get_right_answers_or_sentences(
    exported, requests
):
    options = [f"--max_requests={_CLIENTS // 2}"]
    with server_process.serve(exported, options) as server:
        clients = serving_clients.Clients(server.address, requests, _CLIENTS)
        with clients.run() as tally:
            assert tally.wait_for_answers(100)
        assert server.defects == []
        assert server.stop() == 0
    _assert_right(tally)
    assert tally.counts["right_400"] > 0
    assert tally.counts["refused_429"] > 0


def test_clients_find_a_server_again_that_was_killed(exported, requests):
    port = server_process.find_free_port()
    with contextlib.ExitStack() as stack:

        def start():
            server = server_process.serve(exported, port=port)
            return stack.enter_context(server)

        server = start()
        clients = serving_clients.Clients(server.address, requests, _CLIENTS)
        with clients.run() as tally:
            assert tally.wait_for_answers(20)
            server.kill()
            start()
            assert tally.wait_for_answers(len(tally.seconds) + 50)
    _assert_right(tally)
    assert tally.counts["no_connection"] > 0


def test_no_request_is_lost_while_versions_change(exported, tmp_path):
    answers = serving_requests.Answers(exported)
    seen = []
    files = serving_requests.draw_files()
    requests = [
        serving_requests.make_infer(
            name, files[name], answers.predict(files[name])[0], seen
        )
        for name in ("33x40.png", "97x160.jpg")
    ]
    base = tmp_path / "mine"
    shutil.copytree(exported, base / "1")
    with server_process.serve(base, ["--poll_seconds=0.1"]) as server:
        clients = serving_clients.Clients(server.address, requests, _CLIENTS)
        with clients.run() as tally:
            for version in (2, 3):
                assert tally.wait_for_answers(len(tally.seconds) + 20)
                shutil.copytree(exported, tmp_path / "copied")
                (tmp_path / "copied").rename(base / str(version))
                server.wait_for_version(version)
                shutil.rmtree(base / str(version - 1))
            assert tally.wait_for_answers(len(tally.seconds) + 20)
        assert server.defects == []
    assert set(tally.counts) == {serving_clients.RIGHT}
    assert set(seen) == {1, 2, 3}


def test_broken_requests_are_answered_with_sentences(exported):
    with server_process.serve(exported) as server:
        sender = serving_abuse.Sender(server)
        sender.send_all(broken_inputs.draw(300, seed=7))
        assert server.is_alive
        assert server.defects == []
        answer = httpx.get(f"{server.address}/v2/health/ready", timeout=60)
        assert answer.status_code == 200
    assert len(sender.seconds) == 300
    assert sender.remarks == []
