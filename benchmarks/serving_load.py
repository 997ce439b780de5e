# SPDX-License-Identifier: Apache-2.0
"""Drives `deeplab2-serve` as its users do, and compares every answer.

    python benchmarks/serving_load.py --model=models/mine/1

The server is a process of its own on this machine. Each answer is compared with
the one that the exported model gives for the file alone in this process; a
refusal must be a sentence with its status. Without --model a network of random
weights is exported first. Linux only.

    soak      --soak_minutes of more clients than the server admits, with good
              and broken files of many sizes and broken requests
    restart   SIGKILL and a new start under load, three times
    reload    new versions under load: the old folder goes when the new
              version answers; each request is sent once
    overhead  one client against the bare function of the SavedModel, at the
              size of the canvas
    batching  many clients against a server with, and one without, batches
    bytes     the answer encoded_compact against the maps as JSON
"""

import contextlib
import pathlib
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import httpx
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import (  # noqa: E402
    measuring,
    running,
    served_models,
    server_process,
    serving_clients,
    serving_figures,
    serving_requests,
)

_MODEL = served_models.MODEL
_MINUTES = flags.DEFINE_float(
    "soak_minutes",
    1.0,
    "How long soak runs; a tenth of it with --quick.",
    lower_bound=0.01,
)
_CLIENTS = flags.DEFINE_integer(
    "clients", 16, "Clients of soak, restart, reload, batching.", lower_bound=2
)
_KILLS = 3
_VERSIONS = 4
_ROUNDS = 6
_MAX_BODY_BYTES = 4_000_000


@contextlib.contextmanager
def _open_model() -> Iterator[pathlib.Path]:
    with served_models.open_model(_MODEL.value, "513,1025") as folder:
        yield folder


def _scale() -> float:
    """Returns by what the times are multiplied."""
    return 0.1 if running.is_quick() else 1.0


def _make_good(
    answers: serving_requests.Answers,
) -> list[serving_requests.Request]:
    return [
        serving_requests.make_predict(name, [file], answers.predict(file))
        for name, file in serving_requests.draw_files().items()
    ]


def make_mix(
    answers: serving_requests.Answers,
) -> tuple[list[serving_requests.Request], list[float]]:
    """Makes good and broken requests, and how often each is sent."""
    files = serving_requests.draw_files()
    broken = serving_requests.draw_broken_files()
    requests = _make_good(answers)
    weights = [6.0 / len(requests)] * len(requests)
    for name, file in broken.items():
        row = answers.predict(file)
        requests.append(serving_requests.make_predict(name, [file], row))
        weights.append(2.0 / len(broken))
    good = next(iter(files.values()))
    mixed = [good, broken["text"], files["33x40.png"]]
    rows = [answers.predict(file)[0] for file in mixed]
    requests.append(serving_requests.make_predict("mixed", mixed, rows))
    weights.append(1.0)
    for name, body, status in (
        ("no_json", b'{"instances": [', 400),
        ("no_signature", serving_requests.make_body([good], "none"), 400),
        ("no_base64", b'{"instances": [{"b64": "="}]}', 400),
        ("too_long", b" " * (_MAX_BODY_BYTES + 1), 413),
    ):
        requests.append(serving_requests.make_refused(name, body, status))
        weights.append(0.25)
    return requests, weights


def _soak() -> Iterator[measuring.Measurement]:
    with _open_model() as folder:
        requests, weights = make_mix(serving_requests.Answers(folder))
        options = (
            f"--max_requests={_CLIENTS.value - _CLIENTS.value // 4}",
            f"--max_body_bytes={_MAX_BODY_BYTES}",
        )
        with server_process.serve(folder, options) as server:
            clients = serving_clients.Clients(
                server.address, requests, _CLIENTS.value, weights
            )
            watch, cpu = serving_figures.Watch([server]), server.cpu_seconds()
            server.reset_peak()
            with server_process.MemoryWatch(server) as memory, clients.run():
                time.sleep(60 * _MINUTES.value * _scale())
            tally, seconds = clients.tally, watch.seconds()
            cpu = server.cpu_seconds() - cpu
            values = {
                **serving_figures.list_counts(tally),
                "p99_ms": tally.percentile_ms(99),
                "p99_over_p50": (
                    tally.percentile_ms(99) / tally.percentile_ms(50)
                ),
                "images_per_second": tally.num_images / seconds,
                "memory_first_mb": memory.mb[0],
                "memory_last_mb": memory.mb[-1],
                "memory_slope_mb_per_minute": memory.slope_mb_per_minute(),
                "defects": len(server.defects),
            }
            found = serving_figures.make_measurement(
                "soak",
                tally.seconds,
                watch,
                values,
                cpu_ms=1000 * cpu / max(1, tally.num_images),
                peak_mb=server.peak_mb(),
            )
    yield found


def _restart() -> Iterator[measuring.Measurement]:
    with _open_model() as folder, contextlib.ExitStack() as stack:
        requests = _make_good(serving_requests.Answers(folder))
        port = server_process.find_free_port()
        servers: list[server_process.ServerProcess] = []

        def start() -> server_process.ServerProcess:
            server = server_process.serve(folder, port=port)
            servers.append(stack.enter_context(server))
            return servers[-1]

        server = start()
        watch = serving_figures.Watch(servers)
        clients = serving_clients.Clients(
            server.address, requests, _CLIENTS.value
        )
        pauses = []
        with clients.run() as tally:
            for _ in range(_KILLS):
                time.sleep(40 * _scale())
                server.kill()
                killed = time.monotonic()
                server = start()
                pauses.append(_wait_for_answer(tally, killed) - killed)
            time.sleep(40 * _scale())
        values = {
            **serving_figures.list_counts(clients.tally),
            "kills": float(_KILLS),
            "seconds_to_next_answer": max(pauses),
        }
        found = serving_figures.make_measurement(
            "restart", tally.seconds, watch, values
        )
    yield found


def _wait_for_answer(tally: serving_clients.Tally, since: float) -> float:
    """Waits a minute for a right answer after a moment; returns when it was."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        later = [moment for moment in tally.moments if moment > since]
        if later:
            return later[0]
        time.sleep(0.05)
    return time.monotonic()


def _reload() -> Iterator[measuring.Measurement]:
    with _open_model() as folder, tempfile.TemporaryDirectory() as name:
        base = pathlib.Path(name) / "mine"
        _add_version(folder, base, 1)
        answers = serving_requests.Answers(folder)
        seen: list[int] = []
        requests = [
            serving_requests.make_infer(
                file_name, file, answers.predict(file)[0], seen
            )
            for file_name, file in serving_requests.draw_files().items()
        ]
        with server_process.serve(base, ["--poll_seconds=0.5"]) as server:
            watch = serving_figures.Watch([server])
            clients = serving_clients.Clients(
                server.address, requests, _CLIENTS.value
            )
            with clients.run() as tally:
                for version in range(2, _VERSIONS + 1):
                    time.sleep(10 * _scale())
                    _add_version(folder, base, version)
                    server.wait_for_version(version)
                    shutil.rmtree(base / str(version - 1))
                time.sleep(10 * _scale())
            lost = sum(clients.tally.counts.values()) - len(tally.seconds)
            values = {
                **serving_figures.list_counts(tally),
                "reloads": float(_VERSIONS - 1),
                "lost": float(lost),
                "versions_seen": float(len(set(seen))),
                "memory_last_mb": server.resident_mb(),
                "defects": float(len(server.defects)),
            }
            found = serving_figures.make_measurement(
                "reload", tally.seconds, watch, values
            )
    yield found


def _add_version(
    folder: pathlib.Path, base: pathlib.Path, version: int
) -> None:
    """Puts a version in place, all of its files at once."""
    base.mkdir(exist_ok=True)
    shutil.copytree(folder, base.with_name("copied"))
    base.with_name("copied").rename(base / str(version))


def _overhead() -> Iterator[measuring.Measurement]:
    """Measures one client and the bare function in turns."""
    with _open_model() as folder:
        answers = serving_requests.Answers(folder)
        name, file = next(iter(serving_requests.draw_files().items()))
        rows = answers.predict(file)
        request = serving_requests.make_predict(name, [file], rows)
        tally, bare, served = serving_clients.Tally(), [], []
        with (
            server_process.serve(folder) as server,
            serving_clients.open_client(server.address) as client,
        ):
            watch = serving_figures.Watch([server])
            for number in range(max(2, round(_ROUNDS * _scale()))):
                bare += _time(lambda: answers.predict(file))
                served += _time(
                    lambda: serving_clients.send(client, request, tally)
                )
                if not number:
                    bare, served = [], []
            values = serving_figures.list_counts(tally)
            ratio = statistics.median(served) / statistics.median(bare) - 1
            found = [
                serving_figures.make_measurement(
                    "bare_function", bare, watch, {}
                ),
                serving_figures.make_measurement(
                    "one_client",
                    served,
                    watch,
                    {**values, "overhead_percent": 100 * ratio},
                ),
            ]
    yield from found


def _time(run: Callable[[], object], count: int = 5) -> list[float]:
    seconds = []
    for _ in range(count):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return seconds


def _batching() -> Iterator[measuring.Measurement]:
    """Measures images a second of two servers in turns."""
    with _open_model() as folder, contextlib.ExitStack() as stack:
        requests = _make_good(serving_requests.Answers(folder))
        sides = {}
        for most in (8, 1):
            options = [f"--max_batch_size={most}"]
            sides[most] = stack.enter_context(
                server_process.serve(folder, options)
            )
        watch = serving_figures.Watch([*sides.values()])
        images = dict.fromkeys(sides, 0)
        seconds = dict.fromkeys(sides, 0.0)
        times: dict[int, list[float]] = {most: [] for most in sides}
        for number in range(max(1, round(_ROUNDS * _scale()))):
            for most, server in sides.items():
                start = time.monotonic()
                clients = serving_clients.Clients(
                    server.address, requests, _CLIENTS.value, seed=number
                )
                with clients.run() as tally:
                    time.sleep(10)
                serving_figures.list_counts(tally)
                seconds[most] += time.monotonic() - start
                images[most] += tally.num_images
                times[most] += tally.seconds
        rates = {most: images[most] / seconds[most] for most in sides}
        found = [
            serving_figures.make_measurement(
                f"max_batch_size_{most}",
                times[most],
                watch,
                {
                    "images_per_second": rate,
                    "times_of_batch_1": rate / rates[1],
                },
                peak_mb=sides[most].peak_mb(),
            )
            for most, rate in rates.items()
        ]
    yield from found


def _bytes() -> Iterator[measuring.Measurement]:
    with _open_model() as folder:
        file = next(iter(serving_requests.draw_files().values()))
        with server_process.serve(folder) as server:
            watch = serving_figures.Watch([server])
            sizes, seconds = {}, {}
            for signature in ("encoded", "encoded_compact"):
                body = serving_requests.make_body([file], signature)
                url = server.address + serving_requests.PREDICT_PATH
                start = time.monotonic()
                answer = httpx.post(url, content=body, timeout=120)
                seconds[signature] = time.monotonic() - start
                sizes[signature] = len(answer.raise_for_status().content)
        values = {f"{name}_bytes": float(size) for name, size in sizes.items()}
        values["maps_over_compact"] = (
            sizes["encoded"] / sizes["encoded_compact"]
        )
        found = serving_figures.make_measurement(
            "answer_bytes", [seconds["encoded_compact"]], watch, values
        )
    yield found


CASES = {
    "soak": running.Case(_soak),
    "restart": running.Case(_restart),
    "reload": running.Case(_reload),
    "overhead": running.Case(_overhead),
    "batching": running.Case(_batching),
    "bytes": running.Case(_bytes),
}

if __name__ == "__main__":
    running.run(CASES, (_MODEL, _MINUTES, _CLIENTS))
