# SPDX-License-Identifier: Apache-2.0
"""Finds images that are in two sets, by size and decoded pixels.

In reading order: `compute_digest`, `Place` (where an image is), `list_files`
and `list_records`, `KnownImages` (a set, of which only digests are kept).
Image files are compared upright, as they are trained on; images of records as
they are stored. Those of the set that is kept count both ways.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.data.records import headers as record_headers
from deeplab2_like.storage import image_decoding, image_files, in_order

_MAX_THREADS = 8
# Images that are read ahead of their use, for each thread.
_AHEAD = 2
_IS_FILE = -1  # In place of the byte at which a record begins.
_Advance = Callable[[int], None]


def compute_digest(pixels_hw3: npt.NDArray[np.uint8]) -> bytes:
    """Computes a checksum of the size and the pixels of an image."""
    found = hashlib.blake2b(str(pixels_hw3.shape).encode(), digest_size=16)
    found.update(np.ascontiguousarray(pixels_hw3).tobytes())
    return found.digest()


@dataclasses.dataclass(frozen=True, slots=True)
class Place:
    """Where an image is.

    Attributes:
        path: Path of an image file, or of a TFRecord file.
        offset: Byte at which the record begins; -1 for an image file.
        length: Bytes of the data of the record.
    """

    path: str
    offset: int = _IS_FILE
    length: int = 0

    def read(self) -> tuple[str, bytes]:
        """Reads the image: its name or path, and the content of its file.

        Raises:
            DataError: It cannot be read.
        """
        if self.offset == _IS_FILE:
            return self.path, image_files.read_file(self.path)
        serialized = record_headers.read_record(
            self.path, self.offset, self.length
        )
        try:
            parsed = record_features.parse_example(serialized)
        except tf.errors.OpError as error:
            raise errors.DataError(
                f"The record at byte {self.offset} of {self.path} is damaged."
            ) from error
        name = parsed["name"].numpy().decode("utf-8", "replace")
        return name, parsed["image"].numpy()


@dataclasses.dataclass(frozen=True, slots=True)
class _Found:
    """An image that was read; without `digests` where it was not decoded."""

    name: str
    digests: dict[bytes, tuple[int, int]] = dataclasses.field(
        default_factory=dict
    )


def list_files(paths: Iterable[str]) -> list[Place]:
    """Lists image files."""
    return [Place(path) for path in paths]


def list_records(paths: Sequence[str]) -> list[Place]:
    """Lists the complete records of TFRecord files.

    Raises:
        DataError: A file cannot be read, or there are files and no record.
    """
    if not paths:
        return []
    return [
        Place(file.path, offset, length)
        for file in record_files.scan_files(paths, on_damage="skip")
        for offset, length in zip(
            file.offsets.tolist(), file.lengths.tolist(), strict=True
        )
    ]


@dataclasses.dataclass(frozen=True)
class KnownImages:
    """A set of images.

    Attributes:
        names: Name of an image by its digest.
        sizes: (height, width) of the images.
    """

    names: Mapping[bytes, str]
    sizes: frozenset[tuple[int, int]]

    @classmethod
    def read(
        cls, places: Sequence[Place], advance: _Advance = lambda _: None
    ) -> Self:
        """Reads the images of a set; those that are damaged are left out.

        Args:
            places: Where the images are.
            advance: Function that is called with the number of images done.
        """
        names: dict[bytes, str] = {}
        sizes = set()
        for one in _read_all(places, None, advance):
            for digest, size in one.digests.items():
                names.setdefault(digest, one.name)
                sizes.add(size)
        return cls(names, frozenset(sizes))

    def find(
        self, places: Sequence[Place], advance: _Advance = lambda _: None
    ) -> list[tuple[str, str]]:
        """Finds the images of another set that are in this one.

        Only those are decoded whose size occurs in this set.

        Args:
            places: Where the images of the other set are.
            advance: Function that is called with the number of images done.

        Returns:
            Name of the image there and here, in the order of `places`.
        """
        return [
            (one.name, self.names[digest])
            for one in _read_all(places, self.sizes, advance)
            for digest in one.digests
            if digest in self.names
        ]


def _read_all(
    places: Sequence[Place],
    sizes: frozenset[tuple[int, int]] | None,
    advance: _Advance,
) -> Iterator[_Found]:
    """Yields the images that can be read, in order, read by threads."""
    count = min(_MAX_THREADS, os.cpu_count() or 1)
    read = functools.partial(_read, sizes=sizes)
    with concurrent.futures.ThreadPoolExecutor(count) as executor:
        for done, one in enumerate(
            in_order.call(executor, read, places, _AHEAD * count), 1
        ):
            if one is not None:
                yield one
            advance(done)


def _read(
    place: Place, *, sizes: frozenset[tuple[int, int]] | None
) -> _Found | None:
    """Reads an image; decodes it if its size is one of `sizes`.

    Without sizes it is decoded as stored and upright, where these differ.
    """
    is_file = place.offset == _IS_FILE
    try:
        name, content = place.read()
        image = image_decoding.open_image(content, name)
        size = image.size if is_file else image.stored_size
        if sizes is not None and size not in sizes:
            return _Found(name)
        ways = {is_file}
        if sizes is None and image.orientation != 1:
            ways = {False, True}
        decoded = [
            image.decode(upright=is_upright, as_in_training=True)
            for is_upright in ways
        ]
    except errors.DataError:
        return None  # Training, labelling or evaluation says what is wrong.
    return _Found(name, {compute_digest(one): one.shape[:2] for one in decoded})
