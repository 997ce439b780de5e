# SPDX-License-Identifier: Apache-2.0
"""`deeplab2-serve` as a process of its own, on this machine; Linux only."""

import collections
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence

import httpx
import numpy as np

from deeplab2_like import errors

_PROC = pathlib.Path("/proc")
_START_SECONDS = 900
_END_SECONDS = 60
_MAX_MB = 5000.0


def find_free_port() -> int:
    """Returns a port of this machine that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


class ServerProcess:
    """A running server.

    Attributes:
        address: Where it listens, such as "http://127.0.0.1:8501".
        pid: Number of the process.
        defects: Lines of its log that tell of a defect.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        options: Sequence[str] = (),
        port: int = 0,
    ):
        """Starts the server of the model `mine`; see `wait`.

        Args:
            folder: Folder of the model.
            options: Further arguments of deeplab2-serve.
            port: Port to listen on; 0: any.
        """
        self.address = ""
        self.defects: list[str] = []
        self._last: collections.deque[str] = collections.deque(maxlen=30)
        self._is_available = threading.Event()
        self._process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "deeplab2_like.server.main",
                f"--model=mine={os.fspath(folder)}",
                f"--port={port}",
                *options,
            ],
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self.pid = self._process.pid
        self._thread = threading.Thread(target=self._read_log, daemon=True)
        self._thread.start()

    def _read_log(self) -> None:
        assert self._process.stderr is not None
        is_loaded = False
        for line in self._process.stderr:
            self._last.append(line.rstrip())
            try:
                record = json.loads(line)
            except ValueError:
                continue
            self.address = record.get("address", self.address)
            is_loaded |= record.get("state") == "AVAILABLE"
            if is_loaded and self.address:
                self._is_available.set()
            if record.get("level") in ("ERROR", "CRITICAL"):
                self.defects.append(line.rstrip())
        self._is_available.set()

    def wait(self) -> None:
        """Waits until the model is loaded and the server listens.

        Raises:
            UserError: It ended, or took minutes.
        """
        is_available = self._is_available.wait(_START_SECONDS)
        if not is_available or not self.address or not self.is_alive:
            self.kill()
            raise errors.UserError(
                "deeplab2-serve did not start:\n" + "\n".join(self._last)
            )

    def wait_for_version(self, version: int) -> None:
        """Waits until a version of the model answers, or for minutes."""
        path = f"{self.address}/v1/models/mine/versions/{version}"
        for _ in range(4 * _START_SECONDS):
            if '"AVAILABLE"' in httpx.get(path, timeout=60).text:
                return
            time.sleep(0.25)

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def kill(self) -> None:
        """Ends the process at once (SIGKILL)."""
        self._process.kill()
        self._process.wait()
        self._thread.join()

    def stop(self) -> int:
        """Ends the process as a system would (SIGTERM); returns its code."""
        self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            return -signal.SIGKILL
        self._thread.join()
        return code

    def cpu_seconds(self) -> float:
        """Returns the processor time that it used; 0 after its end."""
        try:
            text = (_PROC / str(self.pid) / "stat").read_text()
        except OSError:
            return 0.0
        user, system = text.rpartition(")")[2].split()[11:13]
        return (int(user) + int(system)) / os.sysconf("SC_CLK_TCK")

    def resident_mb(self) -> float:
        """Returns its memory in 10**6 bytes; 0 after its end."""
        return self._read_memory("VmRSS")

    def peak_mb(self) -> float:
        """Returns its largest memory since `reset_peak`, in 10**6 bytes."""
        return self._read_memory("VmHWM")

    def reset_peak(self) -> None:
        """Makes the present memory the largest."""
        (_PROC / str(self.pid) / "clear_refs").write_text("5")

    def _read_memory(self, field: str) -> float:
        try:
            lines = (_PROC / str(self.pid) / "status").read_text().splitlines()
        except OSError:
            return 0.0
        for line in lines:
            if line.startswith(f"{field}:"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0


@contextlib.contextmanager
def serve(
    folder: str | os.PathLike[str],
    options: Sequence[str] = (),
    port: int = 0,
) -> Iterator[ServerProcess]:
    """Runs a server while a block runs; see `ServerProcess`."""
    server = ServerProcess(folder, options, port)
    try:
        server.wait()
        yield server
    finally:
        if server.is_alive:
            server.stop()


class MemoryWatch:
    """Writes down the memory of a server every half second.

    A server that takes too much is killed, before the system does so to another
    process.

    Attributes:
        seconds: Times since the beginning.
        mb: Memory at these times, in 10**6 bytes.
    """

    def __init__(self, server: ServerProcess):
        """Takes the server."""
        self.seconds: list[float] = []
        self.mb: list[float] = []
        self._server = server
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        """Begins."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends."""
        self._is_over.set()
        self._thread.join()

    def _watch(self) -> None:
        start = time.monotonic()
        while not self._is_over.wait(0.5):
            self.seconds.append(time.monotonic() - start)
            self.mb.append(self._server.resident_mb())
            if self.mb[-1] > _MAX_MB:
                print(f"Killed at {self.mb[-1]} MB", file=sys.stderr)
                self._server.kill()
                return

    def slope_mb_per_minute(self) -> float:
        """Fits a line to the second half of the values."""
        half = len(self.mb) // 2
        if len(self.mb) - half < 2:
            return 0.0
        slope, _ = np.polyfit(self.seconds[half:], self.mb[half:], 1)
        return float(slope) * 60
