# SPDX-License-Identifier: Apache-2.0
"""Requests that are not answered as asked, each with a kind and a sentence."""

import enum
import itertools
import reprlib


class Kind(enum.StrEnum):
    """Why a request failed; the names of TensorFlow's status codes."""

    INVALID = "INVALID_ARGUMENT"
    UNAUTHENTICATED = "UNAUTHENTICATED"
    NOT_FOUND = "NOT_FOUND"
    TOO_LARGE = "OUT_OF_RANGE"
    UNSUPPORTED = "UNIMPLEMENTED"
    SLOW_CLIENT = "CANCELLED"
    BUSY = "RESOURCE_EXHAUSTED"
    UNAVAILABLE = "UNAVAILABLE"
    TIMEOUT = "DEADLINE_EXCEEDED"
    INTERNAL = "INTERNAL"


class RequestError(Exception):
    """A request that failed; its text is one sentence for the client.

    Attributes:
        kind: Why it failed.
    """

    def __init__(self, kind: Kind, sentence: str):
        """Makes a failure.

        Args:
            kind: Why it failed.
            sentence: What is wrong, what is allowed, how to fix it; no bytes
                of an image.
        """
        super().__init__(sentence)
        self.kind = kind


def invalid(sentence: str) -> RequestError:
    """Makes the failure of a request that is not as it must be."""
    return RequestError(Kind.INVALID, sentence)


class _Shortener(reprlib.Repr):
    """Writes the beginning of a value, however large the value is."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = 3
        self.maxlist = self.maxtuple = 8
        self.maxstring = self.maxother = 60

    def repr_dict(self, value: dict[object, object], level: int) -> str:
        """Writes a few keys; that of the library sorts them all."""
        first = itertools.islice(value.items(), 4)
        parts = [
            f"{self.repr1(k, level - 1)}: {self.repr1(v, level - 1)}"
            for k, v in (first if level > 0 else ())
        ]
        return "{" + ", ".join(parts) + "}"


_SHORTENER = _Shortener()


def shorten(value: object) -> str:
    """Returns at most 60 printable characters of what a client sent."""
    text = _SHORTENER.repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def show_name(name: str) -> str:
    """Returns at most 60 printable characters of a name that a client sent."""
    return shorten(name)[1:-1]
