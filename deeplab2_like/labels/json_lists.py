# SPDX-License-Identifier: Apache-2.0
"""Reads the lists at the top of a large JSON file entry by entry.

The annotations of a data set of 100,000 images are one JSON file of hundreds of
MB, which has several GB as Python's objects. `stream` decodes one entry at a
time, so that memory does not depend on the number of entries. It reads files
that are in order. For all others it raises `IrregularError`, and the caller
reads the file as a whole with `json_documents.load`, whose errors name the
place.
"""

import json
import os
import re
from collections.abc import (
    Callable,
    Collection,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from typing import Any, TextIO, TypeAlias, TypeVar

from deeplab2_like.labels import json_documents

T = TypeVar("T")
Lists: TypeAlias = Iterable[tuple[str, Iterator[Any]]]

_SPACE = re.compile(r"[ \t\n\r]*")
# What a number can go on with.
_NUMBER_PARTS = re.compile(r"[-+.0-9eE]*")
# Characters that are read at once.
_CHUNK = 2**18


class IrregularError(Exception):
    """A file is to be read as a whole; never shown to users."""


def read(
    make: Callable[[Lists], T],
    path: str | os.PathLike[str],
    required: Collection[str],
    optional: Collection[str],
    load: Callable[[], Mapping[str, Sequence[Any]]],
) -> T:
    """Makes something of the lists of a file, entry by entry where possible.

    Args:
        make: Function that is called with each key and its entries, which it
            reads once, in order. It is called again from the start when the
            file turns out to be irregular.
        path: The file.
        required: Keys that must be there as lists.
        optional: Keys that may be left out or null.
        load: Function that loads the file as a whole, and raises an error that
            says what is wrong with it.

    Returns:
        The result of `make`.
    """
    try:
        return make(stream(path, required, optional))
    except IrregularError:
        return make((key, iter(value)) for key, value in load().items())


def stream(
    path: str | os.PathLike[str],
    required: Collection[str] = (),
    optional: Collection[str] = (),
) -> Iterator[tuple[str, Iterator[Any]]]:
    """Reads the lists of the object at the top of a file.

    Args:
        path: The file, in UTF-8, UTF-16 or UTF-32.
        required: Keys that must be there, and be lists.
        optional: Keys that must be lists, be null, or be left out.

    Yields:
        Each key whose value is a list, in the order of the file, with its
        entries. What is left of them is skipped when the next key is asked for.

    Raises:
        IrregularError: The file cannot be read, is not valid JSON, has a key
            twice, or not the lists that it should have.
    """
    try:
        with open(path, "rb") as binary:
            encoding = json.detect_encoding(binary.read(4))
        file = open(path, encoding=encoding, newline="")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise IrregularError from error
    with file:
        yield from _read_object(_Text(file), required, optional)


def _read_object(
    text: "_Text", required: Collection[str], optional: Collection[str]
) -> Iterator[tuple[str, Iterator[Any]]]:
    seen, lists = set(), set()
    text.take("{")
    while text.peek() != "}":
        key = text.decode()
        text.take(":")
        if not isinstance(key, str) or key in seen:
            raise IrregularError
        seen.add(key)
        if text.peek() == "[":
            lists.add(key)
            entries = _read_list(text)
            yield key, entries
            for _ in entries:
                pass
        elif text.decode() is not None and key in optional:
            raise IrregularError
        if text.peek() != "}":
            text.take(",")
            if text.peek() == "}":
                raise IrregularError
    text.take("}")
    if text.peek() or not lists.issuperset(required):
        raise IrregularError


def _read_list(text: "_Text") -> Iterator[Any]:
    text.take("[")
    while text.peek() != "]":
        yield text.decode()
        if text.peek() != "]":
            text.take(",")
            if text.peek() == "]":
                raise IrregularError
    text.take("]")


class _Text:
    """The part of a text that was read and not yet decoded."""

    def __init__(self, file: TextIO):
        self._file = file
        self._text = ""
        self._place = 0
        self._decoder = json.JSONDecoder(
            object_pairs_hook=json_documents.refuse_repeated_keys
        )

    def peek(self) -> str:
        """Returns the next character that is no space; "" at the end."""
        while True:
            match = _SPACE.match(self._text, self._place)
            if match is not None:
                self._place = match.end()
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._read_more():
                return ""

    def take(self, character: str) -> None:
        """Goes on behind the next character, which must be this one."""
        if self.peek() != character:
            raise IrregularError
        self._place += 1

    def decode(self) -> Any:
        """Decodes the next value."""
        self.peek()
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._place)
            except json.JSONDecodeError as error:
                if self._read_more():
                    continue
                raise IrregularError from error
            except (ValueError, RecursionError) as error:
                raise IrregularError from error
            # A number may go on behind the end of what was read.
            rest = _NUMBER_PARTS.match(self._text, end)
            if rest and rest.end() == len(self._text) and self._read_more():
                continue
            self._place = end
            return value

    def _read_more(self) -> bool:
        """Returns whether there was more."""
        # As much as cannot be decoded yet, so that an entry of any length takes
        # a time in proportion to its length.
        rest = len(self._text) - self._place
        try:
            more = self._file.read(max(_CHUNK, rest))
        except (OSError, ValueError) as error:
            raise IrregularError from error
        if more:
            self._text = self._text[self._place :] + more
            self._place = 0
        return bool(more)
