# SPDX-License-Identifier: Apache-2.0
import os
import queue
import signal
import socket
import subprocess
import sys
import threading

import pytest

from deeplab2_like.trainer import stopping


@pytest.fixture(autouse=True)
def _own_handlers():
    """Handlers as in a program; those of the test run come back."""
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def _send(number):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_waits_for_the_loop_and_says_so(number):
    said = queue.Queue()
    with stopping.Watch(said.put) as watch:
        watch.plan("Stopping after this loop of 500 steps, at step 1000")
        watch.check()
        _send(number)
        line = said.get(timeout=10)
        with pytest.raises(stopping.StopRequestedError):
            watch.check()
    assert watch.received == number
    assert line.startswith("Stopping after this loop of 500 steps")
    assert ("press Ctrl-C again" in line) == (number == signal.SIGINT)
    assert said.empty()


def test_the_second_ctrl_c_interrupts_at_once():
    with stopping.Watch(lambda _: None) as watch:
        _send(signal.SIGINT)
        assert watch.received == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            _send(signal.SIGINT)


def test_a_block_that_loses_nothing_ends_with_the_first_signal():
    with stopping.Watch(lambda _: None) as watch:
        with pytest.raises(stopping.StopRequestedError), watch.interruptible():
            _send(signal.SIGTERM)
        # A later block does not even begin.
        with pytest.raises(stopping.StopRequestedError), watch.interruptible():
            raise AssertionError


def test_handlers_are_as_before_behind_the_block():
    with stopping.Watch(lambda _: None):
        assert signal.getsignal(signal.SIGTERM) != signal.SIG_DFL
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    with pytest.raises(KeyboardInterrupt):
        _send(signal.SIGINT)


def test_an_output_that_is_not_read_does_not_keep_the_second_ctrl_c(
    monkeypatch,
):
    monkeypatch.setattr(stopping, "_PATIENCE_SECONDS", 0.01)
    is_ended, never = threading.Event(), threading.Event()
    watch = stopping.Watch(lambda _: never.wait())
    monkeypatch.setattr(watch, "_end_process", is_ended.set)
    ours, theirs = socket.socketpair()
    threading.Thread(target=watch._listen, args=(ours,), daemon=True).start()
    theirs.send(bytes([signal.SIGINT]) * 2)
    assert is_ended.wait(30)
    theirs.close()


def test_a_signal_that_is_switched_off_stays_off():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with stopping.Watch(lambda _: None) as watch:
        _send(signal.SIGINT)
        assert watch.received is None


def test_a_thread_watches_nothing():
    found = []

    def run():
        with stopping.Watch(lambda _: None) as watch:
            watch.check()
            found.append(watch.received)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found == [None]


# The key takes minutes, in C code that does not return to Python.
_BUSY = """
import hashlib, signal
from deeplab2_like.trainer import stopping

signal.signal(signal.SIGINT, signal.default_int_handler)

def say(text):
    print(text, flush=True)

with stopping.Watch(say, before_exit=lambda: say("unlocked")) as watch:
    watch.plan("Stopping after this loop of 500 steps")
    print("ready", flush=True)
    hashlib.pbkdf2_hmac("sha256", b"a", b"b", 2_000_000_000)
"""


def test_ctrl_c_is_answered_while_tensorflow_is_busy():
    process = subprocess.Popen(
        [sys.executable, "-c", _BUSY], stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        line = process.stdout.readline()
        assert line.startswith("Stopping after this loop of 500 steps; press")
        process.send_signal(signal.SIGINT)
        assert process.stdout.readline() == "unlocked\n"
        assert process.wait() == stopping.INTERRUPT_CODE
    finally:
        process.kill()
