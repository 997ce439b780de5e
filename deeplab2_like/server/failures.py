# SPDX-License-Identifier: Apache-2.0
"""Requests that are not answered as asked, each with a kind and a sentence."""

import enum


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


def shorten(value: object) -> str:
    """Returns at most 60 printable characters of what a client sent."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def show_name(name: str) -> str:
    """Returns at most 60 printable characters of a name that a client sent."""
    return shorten(name)[1:-1]
