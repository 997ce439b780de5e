# SPDX-License-Identifier: Apache-2.0
"""Makes the arrays of one file from what its pickle contains for them."""

from typing import Any, Protocol

import numpy as np

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import (
    elements,
    pickled_names,
    sentences,
)


class StorageReader(Protocol):
    """Reads the storages of one file."""

    def read(
        self, storage: pickled_names.Storage
    ) -> tuple[bytes, elements.Order]:
        """Reads the bytes of a storage, and returns their order too."""


class Arrays:
    """Makes the arrays of one file; a storage is read once."""

    def __init__(self, where: str, reader: StorageReader | None = None):
        """Makes the arrays of a file.

        Args:
            where: Path of the file.
            reader: Reader of its storages; None if all elements are in its
                pickle.
        """
        self._where = where
        self._reader = reader
        self._decoded: dict[Any, np.ndarray] = {}

    def make(
        self,
        key: str,
        value: pickled_names.Tensor | pickled_names.PickledArray,
    ) -> np.ndarray:
        """Makes an array.

        Args:
            key: Key of the array in the file, for errors.
            value: What the pickle contains for it.

        Returns:
            [*shape], read-only. Arrays may share their memory.

        Raises:
            CheckpointError: The array does not agree with the file.
        """
        try:
            if isinstance(value, pickled_names.Tensor):
                values = self._read_storage(value.storage)
                return elements.make_view(
                    values, value.offset, value.shape, value.strides
                )
            return self._make_pickled(value)
        except ValueError as error:
            if isinstance(error, errors.CheckpointError):
                raise
            raise sentences.damaged(
                self._where,
                f"the array {sentences.shown(key)} cannot be made, {error}",
            ) from None

    def _read_storage(self, storage: pickled_names.Storage) -> np.ndarray:
        if storage.key not in self._decoded:
            assert self._reader is not None
            data, order = self._reader.read(storage)
            self._decoded[storage.key] = elements.decode(
                data, storage.element, order
            )
        return self._decoded[storage.key]

    def _make_pickled(self, value: pickled_names.PickledArray) -> np.ndarray:
        if value.data is None:
            raise ValueError("it has no elements")
        # The object of the tree stays alive, so that its id is its own.
        kind = (id(value.data), value.element, value.order)
        if kind not in self._decoded:
            data = value.data
            if isinstance(data, str):
                data = _encode(data)
            if len(data) % elements.SIZES[value.element]:
                raise ValueError(
                    f"its {len(data)} bytes are no whole number of "
                    f"{value.element}"
                )
            self._decoded[kind] = elements.decode(
                data, value.element, value.order
            )
        values = self._decoded[kind]
        elements.check_shape(value.shape, len(values))
        if value.is_fortran:
            return values.reshape(tuple(value.shape)[::-1]).T
        return values.reshape(tuple(value.shape))


def _encode(text: str) -> bytes:
    try:
        return text.encode("latin-1")
    except UnicodeEncodeError:
        raise ValueError("its elements are a text") from None
