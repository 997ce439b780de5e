# SPDX-License-Identifier: Apache-2.0
"""Reads the images of TFRecord files, one at a time, past damage."""

import functools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import sources
from deeplab2_like.data.records import features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.predict.journal import Source
from deeplab2_like.predict.result_folder import Item
from deeplab2_like.results import raw_predictions
from deeplab2_like.storage import image_decoding


@tf.function(
    input_signature=[
        tf.TensorSpec([], tf.string),
        tf.TensorSpec([], tf.int64),
    ],
    autograph=False,
)
def _read(path: tf.Tensor, offset: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the name and the file of the record at a byte."""
    parsed = features.parse_example(sources.read_record(path, offset))
    return parsed["name"], parsed["image"]


class Records:
    """The images of record files, in their order.

    Attributes:
        num_records: Number of complete records.
        problems: Path and problem of each file that ends in damage.
    """

    def __init__(self, paths: Sequence[str]):
        """Finds the records by their headers.

        Args:
            paths: Paths of TFRecord files, not compressed.

        Raises:
            DataError: A file cannot be read.
        """
        self._files = [record_files.scan_file(path) for path in paths]
        self.num_records = sum(len(file.offsets) for file in self._files)
        self.problems = [
            (file.path, f"{file.problem}. Write or copy it again.")
            for file in self._files
            if file.problem
        ]

    def items(
        self,
        used: Sequence[str],
        max_pixels: int,
        warn: Callable[[str], None],
    ) -> Iterator[Item]:
        """Yields an item for each record, also for those that are damaged.

        The pixels are those that are stored: labels of records are drawn on
        them, whatever the EXIF orientation.

        Args:
            used: Names of results that other images have.
            max_pixels: Most pixels of an image.
            warn: Function that is called with a sentence about an image of
                which the first picture is read.
        """
        names = {name.casefold() for name in used}
        for file in self._files:
            source = Source.of_file(file.path)
            for number, offset in enumerate(file.offsets.tolist()):
                what = f"Record {number} of {file.path}"
                load: Callable[[], npt.NDArray[np.uint8]]
                try:
                    name, data = _read_record(file.path, offset, what)
                    stem = raw_predictions.choose_path(name, "--out").as_posix()
                    load = functools.partial(
                        _decode, data, f"{what} ({name})", max_pixels, warn
                    )
                except errors.DataError as error:
                    name, stem = f"{what}", f"record-{number:06d}"
                    load = functools.partial(_fail, error)
                yield Item(
                    _choose_name(stem, names),
                    name,
                    source.of_part(number),
                    load,
                )


def _read_record(path: str, offset: int, what: str) -> tuple[str, bytes]:
    """Returns the name of a record and the content of its image file."""
    try:
        name, data = (part.numpy() for part in _read(path, np.int64(offset)))
    except tf.errors.OpError as error:
        raise errors.DataError(
            f"{what} is damaged. Write or copy the file again."
        ) from error
    if not name:
        raise errors.DataError(
            f"{what} has no name (feature {features.NAME!r}), which its "
            "results would get. Write the records with names."
        )
    try:
        return name.decode(), data
    except UnicodeDecodeError:
        raise errors.DataError(
            f"The name of {what[0].lower()}{what[1:]} is not UTF-8. Write the "
            "records with other names."
        ) from None


def _decode(
    data: bytes, what: str, max_pixels: int, warn: Callable[[str], None]
) -> npt.NDArray[np.uint8]:
    encoded = image_decoding.open_image(data, what, max_pixels=max_pixels)
    if encoded.note:
        warn(encoded.note)
    return encoded.decode(upright=False, as_in_training=True)


def _fail(error: errors.DataError) -> npt.NDArray[np.uint8]:
    raise error


def _choose_name(stem: str, used: set[str]) -> str:
    """Returns a name that no other image has, and notes it."""
    name, number = stem, 2
    while name.casefold() in used:
        name = f"{stem}-{number}"
        number += 1
    used.add(name.casefold())
    return name
