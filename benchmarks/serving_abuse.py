# SPDX-License-Identifier: Apache-2.0
"""Sends `deeplab2-serve` what no careful client sends.

    python benchmarks/serving_abuse.py --model=models/mine/1

The server is a process of its own on this machine, and after each kind of
abuse it must be healthy within a second. Without --model a network of random
weights is exported first, with a small canvas. Linux only.

    inputs    --count broken requests, drawn by seed: none may crash the server,
              take two seconds, or be answered by anything but an answer or a
              sentence
    bombs     small files that decode to gigabytes
    floods    headers without end, slow clients of four kinds, large bodies,
              200 clients at once
"""

import pathlib
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import (  # noqa: E402
    broken_inputs,
    measuring,
    running,
    served_models,
    server_process,
    serving_clients,
    serving_figures,
    serving_floods,
    serving_requests,
)
from deeplab2_like import errors  # noqa: E402

_MODEL = served_models.MODEL
_COUNT = flags.DEFINE_integer(
    "count",
    1000,
    "Number of broken requests; a tenth of it with --quick.",
    lower_bound=10,
)
_SEED = flags.DEFINE_integer("seed", 0, "Seed of the broken requests.")
_CANVAS = "129,257"
_SENDERS = 4
_SLOW_SECONDS = 2.0
_TRIES = 10


def check_answer(status: int, body: bytes) -> str:
    """Checks an answer to a broken request.

    Returns:
        What is wrong with it; an empty text if nothing is.
    """
    if status != 200:
        if status >= 500 and status not in (501, 503, 504):
            return f"{status} {body[:200]!r}"
        return serving_requests.check_sentence(body)
    rows = httpx.Response(200, content=body).json().get("predictions", [])
    if isinstance(rows, list):
        for row in rows:
            if isinstance(row, dict) and row.get("error"):
                wrong = serving_requests.check_text(row["error"])
                if wrong:
                    return wrong
    return ""


class Sender:
    """Sends broken requests from several threads, and checks the answers.

    Attributes:
        seconds: How long each answer took.
        by_kind: Number of requests of each kind.
        remarks: What was wrong with answers.
    """

    def __init__(self, server: server_process.ServerProcess):
        """Takes the server."""
        self.seconds: list[float] = []
        self.by_kind: dict[str, int] = {}
        self.remarks: list[str] = []
        self._server = server
        self._lock = threading.Lock()
        self._port = int(server.address.rpartition(":")[2])

    def send_all(self, requests: Iterator[broken_inputs.Broken]) -> None:
        """Sends until there are no more."""
        threads = [
            threading.Thread(target=self._send, args=(requests,))
            for _ in range(_SENDERS)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _send(self, requests: Iterator[broken_inputs.Broken]) -> None:
        with serving_clients.open_client(self._server.address) as client:
            while True:
                with self._lock:
                    request = next(requests, None)
                if request is None or not self._server.is_alive:
                    return
                start = time.monotonic()
                remark = self._send_one(client, request)
                self._add(request, time.monotonic() - start, remark)

    def _send_one(
        self, client: httpx.Client, request: broken_inputs.Broken
    ) -> str:
        if request.kind == "http":
            answer = serving_floods.exchange(self._port, request.body, 1)
            is_known = answer == b"" or answer.startswith(b"HTTP/1.1 ")
            if answer.startswith(b"HTTP/1.1 5") or not is_known:
                return repr(answer[:200])
            return ""
        try:
            answer = client.post(
                request.path, content=request.body, headers=request.headers
            )
        except httpx.TransportError as error:
            return type(error).__name__
        if "Inference-Header-Content-Length" in answer.headers:
            return ""
        return check_answer(answer.status_code, answer.content)

    def _add(
        self, request: broken_inputs.Broken, seconds: float, remark: str
    ) -> None:
        with self._lock:
            self.seconds.append(seconds)
            number = self.by_kind.get(request.kind, 0)
            self.by_kind[request.kind] = number + 1
            if remark:
                self.remarks.append(f"{request.kind}: {remark}")
                print(self.remarks[-1], request.body[:300], file=sys.stderr)


def _inputs() -> Iterator[measuring.Measurement]:
    count = _COUNT.value // 10 if running.is_quick() else _COUNT.value
    with served_models.open_model(_MODEL.value, _CANVAS) as folder:
        answers = serving_requests.Answers(folder)
        good = _make_good(answers)
        with server_process.serve(folder) as server:
            # What is set up once is no growth.
            warm = Sender(server)
            warm.send_all(broken_inputs.draw(count // 10, _SEED.value + 1))
            before = server.resident_mb()
            watch, cpu = serving_figures.Watch([server]), server.cpu_seconds()
            sender = Sender(server)
            sender.send_all(broken_inputs.draw(count, _SEED.value))
            cpu = server.cpu_seconds() - cpu
            tally = serving_clients.Tally()
            with serving_clients.open_client(server.address) as client:
                outcome, _ = serving_clients.send(client, good, tally)
            slow = sum(seconds > _SLOW_SECONDS for seconds in sender.seconds)
            values = {
                **{f"kind_{k}": float(n) for k, n in sender.by_kind.items()},
                "crashes": float(not server.is_alive),
                "over_2_seconds": float(slow),
                "no_sentence": float(len(sender.remarks)),
                "longest_ms": 1000 * max(sender.seconds),
                "defects": float(len(server.defects)),
                "right_afterwards": float(outcome == serving_clients.RIGHT),
                "memory_growth_mb": server.resident_mb() - before,
            }
            for line in server.defects:
                print(line, file=sys.stderr)
            found = serving_figures.make_measurement(
                "broken_inputs",
                sender.seconds,
                watch,
                values,
                cpu_ms=1000 * cpu / max(1, len(sender.seconds)),
                peak_mb=server.peak_mb(),
            )
    yield found


def _make_good(answers: serving_requests.Answers) -> serving_requests.Request:
    file = serving_requests.draw_files()["97x160.jpg"]
    return serving_requests.make_predict("good", [file], answers.predict(file))


def _bombs() -> Iterator[measuring.Measurement]:
    """Measures the time and the memory until a bomb is refused."""
    files = broken_inputs.make_bombs()
    found = []
    with (
        served_models.open_model(_MODEL.value, _CANVAS) as folder,
        server_process.serve(folder) as server,
        serving_clients.open_client(server.address) as client,
    ):
        # What the decoders set up once is no part of an answer.
        for file in serving_requests.draw_broken_files().values():
            _predict(client, file)
        for name, file in files.items():
            found.append(_measure_bomb(server, client, name, file))
        bomb = broken_inputs.make_text_bomb()
        found.append(_measure_bomb(server, client, "png_note", bomb, False))
    yield from found


def _predict(client: httpx.Client, file: bytes) -> dict:
    body = serving_requests.make_body([file])
    answer = client.post(serving_requests.PREDICT_PATH, content=body)
    return answer.raise_for_status().json()["predictions"][0]


def _measure_bomb(
    server: server_process.ServerProcess,
    client: httpx.Client,
    name: str,
    file: bytes,
    is_refused: bool = True,
) -> measuring.Measurement:
    """Measures the answers to a file; some may be answered, not refused."""
    body = serving_requests.make_body([file])
    seconds, growth, sentences = [], [], []
    watch, cpu = serving_figures.Watch([server]), server.cpu_seconds()
    for _ in range(_TRIES):
        before = server.resident_mb()
        server.reset_peak()
        start = time.perf_counter()
        answer = client.post(serving_requests.PREDICT_PATH, content=body)
        seconds.append(time.perf_counter() - start)
        growth.append(server.peak_mb() - before)
        sentences.append(answer.json()["predictions"][0]["error"])
    bad = [
        text
        for text in sentences
        if serving_requests.check_text(text or ("" if is_refused else "good"))
    ]
    return serving_figures.make_measurement(
        f"bomb/{name}",
        seconds,
        watch,
        {
            "file_bytes": float(len(file)),
            "no_sentence": float(len(bad)),
            "longest_ms": 1000 * max(seconds),
            "alive": float(server.is_alive),
        },
        cpu_ms=1000 * (server.cpu_seconds() - cpu) / _TRIES,
        peak_mb=max(growth),
    )


def _floods() -> Iterator[measuring.Measurement]:
    with served_models.open_model(_MODEL.value, _CANVAS) as folder:
        good = _make_good(serving_requests.Answers(folder))
        found = []
        with server_process.serve(folder, ["--body_seconds=5"]) as server:
            for name, flood in serving_floods.FLOODS.items():
                found.append(_measure_flood(server, name, flood, good))
                print(name, dict(found[-1].values), file=sys.stderr)
    yield from found


def _measure_flood(
    server: server_process.ServerProcess,
    name: str,
    flood: Callable[[int, serving_requests.Request], dict[str, float]],
    good: serving_requests.Request,
) -> measuring.Measurement:
    port = int(server.address.rpartition(":")[2])
    watch = serving_figures.Watch([server])
    before = server.resident_mb()
    server.reset_peak()
    with (
        server_process.MemoryWatch(server),
        serving_floods.HealthWatch(server.address) as health,
    ):
        values = flood(port, good)
    if not server.is_alive:
        raise errors.UserError(f"The flood of {name} has ended the server.")
    start = time.monotonic()
    with serving_clients.open_client(server.address) as client:
        healthy = client.get("/v2/health/ready").status_code == 200
        recovery = time.monotonic() - start
        tally = serving_clients.Tally()
        outcome, _ = serving_clients.send(client, good, tally)
    values |= {
        "healthy_afterwards": float(healthy),
        "health_afterwards_ms": 1000 * recovery,
        "right_afterwards": float(outcome == serving_clients.RIGHT),
        "longest_health_ms": 1000 * max(health.seconds, default=0.0),
        "failed_health": float(health.failed),
        "peak_mb_above": server.peak_mb() - before,
        "resident_mb_after": server.resident_mb(),
        "defects": float(len(server.defects)),
    }
    return serving_figures.make_measurement(
        f"flood/{name}",
        health.seconds,
        watch,
        values,
        peak_mb=server.peak_mb(),
    )


CASES = {
    "inputs": running.Case(_inputs),
    "bombs": running.Case(_bombs),
    "floods": running.Case(_floods),
}

if __name__ == "__main__":
    running.run(CASES, (_MODEL, _COUNT, _SEED))
