# SPDX-License-Identifier: Apache-2.0
"""Clients that send requests to a server, and count how they are answered.

A client keeps its connection, waits as long as `Retry-After` says where it is
refused, and sends the request again.
"""

import collections
import contextlib
import dataclasses
import random
import threading
import time
from collections.abc import Iterator, Sequence

import httpx
import numpy as np

from benchmarks import serving_requests

RIGHT = "right"
WRONG = "wrong"
LATE = "late"
NO_CONNECTION = "no_connection"
BROKEN_CONNECTION = "broken_connection"
# Those after which a request may be sent again: `refused_429`, ...
_REFUSED = {408, 429, 503, 504}
_TIMEOUT_SECONDS = 120.0
_PAUSE_SECONDS = 0.1
_MAX_REMARKS = 20


@dataclasses.dataclass
class Tally:
    """How requests were answered; threads may share it.

    Attributes:
        counts: Number of tries by outcome: `RIGHT`, `WRONG`, `LATE`,
            `NO_CONNECTION`, `BROKEN_CONNECTION`, "refused_429", ...; right
            answers other than 200 are "right_400", ...
        seconds: How long the right answers of predicted images took.
        moments: When each of them was there, time.monotonic().
        num_images: Images of the right answers.
        remarks: What the first wrong answers were.
    """

    counts: collections.Counter[str] = dataclasses.field(
        default_factory=collections.Counter
    )
    seconds: list[float] = dataclasses.field(default_factory=list)
    moments: list[float] = dataclasses.field(default_factory=list)
    num_images: int = 0
    remarks: list[str] = dataclasses.field(default_factory=list)
    _lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)

    def add(
        self,
        request: serving_requests.Request,
        outcome: str,
        seconds: float,
        remark: str = "",
    ) -> None:
        """Adds a try."""
        with self._lock:
            self.counts[outcome] += 1
            if remark and len(self.remarks) < _MAX_REMARKS:
                self.remarks.append(f"{request.name}: {remark}")
            if outcome == RIGHT and request.num_images:
                self.seconds.append(seconds)
                self.moments.append(time.monotonic())
                self.num_images += request.num_images

    def wait_for_answers(self, count: int, seconds: float = 300.0) -> bool:
        """Waits for so many right answers; returns whether they are there."""
        end = time.monotonic() + seconds
        while len(self.seconds) < count and time.monotonic() < end:
            time.sleep(0.05)
        return len(self.seconds) >= count

    def percentile_ms(self, percent: float) -> float:
        """Returns a percentile of `seconds`, in milliseconds; 0 of none."""
        if not self.seconds:
            return 0.0
        return float(np.percentile(self.seconds, percent)) * 1000


def open_client(
    address: str, seconds: float = _TIMEOUT_SECONDS
) -> httpx.Client:
    """Opens a client of a server.

    Args:
        address: Where the server listens.
        seconds: How long it waits for an answer.
    """
    # Certificates are not needed, and take long to read.
    return httpx.Client(base_url=address, timeout=seconds, verify=False)


def send(
    client: httpx.Client,
    request: serving_requests.Request,
    tally: Tally,
    proxy_refusals: frozenset[int] = frozenset(),
) -> tuple[str, float]:
    """Sends a request once.

    Args:
        client: The client.
        request: The request.
        tally: Where the try is counted.
        proxy_refusals: Statuses by which a proxy in front of the server
            refuses, with any text.

    Returns:
        The outcome, and the seconds to wait before the next try; 0 where none
        is needed.
    """
    start = time.monotonic()
    try:
        answer = client.post(request.path, content=request.body)
        body = answer.content
    except httpx.TimeoutException:
        tally.add(request, LATE, time.monotonic() - start, "no answer")
        return LATE, _PAUSE_SECONDS
    except httpx.ConnectError:
        tally.add(request, NO_CONNECTION, time.monotonic() - start)
        return NO_CONNECTION, _PAUSE_SECONDS
    except httpx.TransportError as error:
        seconds = time.monotonic() - start
        remark = "" if request.num_images else type(error).__name__
        tally.add(request, BROKEN_CONNECTION, seconds, remark)
        return BROKEN_CONNECTION, _PAUSE_SECONDS
    seconds = time.monotonic() - start
    status = answer.status_code
    if status == request.status:
        wrong = request.check(body)
        outcome = RIGHT if status == 200 else f"right_{status}"
        tally.add(request, WRONG if wrong else outcome, seconds, wrong)
        return (WRONG if wrong else outcome), 0.0
    if status in proxy_refusals:
        tally.add(request, f"refused_{status}", seconds)
        return f"refused_{status}", 1.0
    if status in _REFUSED:
        wrong = serving_requests.check_sentence(body)
        outcome = WRONG if wrong else f"refused_{status}"
        tally.add(request, outcome, seconds, wrong)
        return outcome, float(answer.headers.get("retry-after", "1"))
    tally.add(request, WRONG, seconds, f"{status} {body[:200]!r}")
    return WRONG, 0.0


class Clients:
    """Threads that send requests until a block ends.

    Attributes:
        tally: How they are answered.
    """

    def __init__(
        self,
        address: str,
        requests: Sequence[serving_requests.Request],
        count: int,
        weights: Sequence[float] | None = None,
        *,
        seed: int = 0,
        proxy_refusals: frozenset[int] = frozenset(),
    ):
        """Takes what to send.

        Args:
            address: Where the server listens.
            requests: What to send, drawn at random again and again.
            count: Number of clients.
            weights: How often each request is drawn; None: equally often.
            seed: Seed of the order.
            proxy_refusals: See `send`.
        """
        self.tally = Tally()
        self._proxy_refusals = proxy_refusals
        self._address = address
        self._requests = requests
        self._weights = weights
        self._is_over = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, args=(seed * 1000 + n,))
            for n in range(count)
        ]

    @contextlib.contextmanager
    def run(self) -> Iterator[Tally]:
        """Sends while a block runs; each client then ends its last try."""
        for thread in self._threads:
            thread.start()
        try:
            yield self.tally
        finally:
            self._is_over.set()
            for thread in self._threads:
                thread.join()

    def _send_all(self, seed: int) -> None:
        dice = random.Random(seed)
        with open_client(self._address) as client:
            while not self._is_over.is_set():
                (request,) = dice.choices(self._requests, self._weights)
                self._send_until_answered(client, request, dice)

    def _send_until_answered(
        self,
        client: httpx.Client,
        request: serving_requests.Request,
        dice: random.Random,
    ) -> None:
        while not self._is_over.is_set():
            _, pause = send(client, request, self.tally, self._proxy_refusals)
            if not pause:
                return
            # Not all at once again.
            self._is_over.wait(pause * dice.uniform(0.5, 1.5))
