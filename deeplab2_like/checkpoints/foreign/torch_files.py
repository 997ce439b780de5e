# SPDX-License-Identifier: Apache-2.0
"""Reads files of `torch.save`, in both forms, without PyTorch.

The newer form (since 1.6) is a zip file `<folder>/data.pkl`, `data/<key>` for
each storage and `byteorder`, all of them stored, not compressed. The older form
is five pickles in a row (magic number, version, machine, object, keys of the
storages) and then each storage of that list: int64 number of elements, and the
elements. Source of the facts: PyTorch's notes on serialization, and files.
"""

import io
import struct
import zipfile
from typing import Any, BinaryIO

from deeplab2_like.checkpoints.foreign import (
    elements,
    pickled_names,
    pickles,
    sentences,
    streams,
)

MAGIC = 0x1950A86A20F9469CFC6C
_VERSION = 1001
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,  # An encrypted record.
    OSError,
    EOFError,
    ValueError,
    LookupError,
    struct.error,
)


class ZipFile:
    """The storages of a zip file of `torch.save`.

    Attributes:
        tree: What the file contains, see `pickles.Unpickler.load`.
    """

    def __init__(self, file: BinaryIO, size: int, where: str):
        """Opens a file and reads its pickle.

        Args:
            file: File, open for reading.
            size: Number of its bytes.
            where: Path of the file.

        Raises:
            CheckpointError: The file is damaged or of another kind.
        """
        self._where = where
        try:
            self._archive = zipfile.ZipFile(file)
        except _ZIP_ERRORS as error:
            raise sentences.damaged(
                where, f"it is no whole zip file ({_describe(error)})"
            ) from error
        records = self._archive.infolist()
        self._records = {record.filename: record for record in records}
        if len(self._records) != len(records):
            raise sentences.damaged(where, "it has two records of one name")
        if sum(record.file_size for record in records) > size:
            raise sentences.damaged(
                where,
                "its records are larger than the file, which is compressed or "
                "gives wrong sizes",
            )
        self._folder = self._find_folder()
        data = self._read_record("data.pkl", None)
        stream = streams.Stream(io.BytesIO(data), len(data), where)
        self.tree = pickles.Unpickler(stream, has_storages=True).load()
        self._order = self._read_order()

    def read(
        self, storage: pickled_names.Storage
    ) -> tuple[bytes, elements.Order]:
        """Reads the bytes of a storage, and returns their order too.

        Raises:
            CheckpointError: There is no such storage, or it has another size.
        """
        size = storage.size * elements.SIZES[storage.element]
        return self._read_record(f"data/{storage.key}", size), self._order

    def _find_folder(self) -> str:
        folders = [
            name.removesuffix("/data.pkl")
            for name in self._records
            if name.endswith("/data.pkl") and name.count("/") == 1
        ]
        if len(folders) != 1:
            raise sentences.refused(
                self._where,
                "is a zip file without a record data.pkl in one folder, and so "
                "not of torch.save",
                "give a .pth, .pkl or .safetensors file",
            )
        if f"{folders[0]}/constants.pkl" in self._records:
            raise sentences.refused(
                self._where,
                "is a TorchScript program",
                "save its weights alone, by "
                "torch.save(torch.jit.load(path).state_dict(), other_path)",
            )
        return folders[0]

    def _read_order(self) -> elements.Order:
        if f"{self._folder}/byteorder" not in self._records:
            return "<"
        data = self._read_record("byteorder", None)
        orders: dict[bytes, elements.Order] = {b"little": "<", b"big": ">"}
        if data not in orders:
            raise sentences.damaged(
                self._where, 'its byteorder is neither "little" nor "big"'
            )
        return orders[data]

    def _read_record(self, name: str, size: int | None) -> bytes:
        """Reads a record, of a certain size if one is given."""
        record = self._records.get(f"{self._folder}/{name}")
        if record is None:
            raise sentences.damaged(
                self._where, f"it has no record {sentences.shown(name)}"
            )
        if record.compress_type != zipfile.ZIP_STORED:
            raise sentences.refused(
                self._where,
                f"has a compressed record {sentences.shown(name)}, which "
                "torch.save does not write",
                "give the original file",
            )
        if record.compress_size != record.file_size:
            # Python's zipfile takes memory for the former.
            raise sentences.damaged(
                self._where,
                f"its record {sentences.shown(name)} has two sizes",
            )
        if size is not None and record.file_size != size:
            raise sentences.damaged(
                self._where,
                f"its record {sentences.shown(name)} has {record.file_size} "
                f"bytes in place of {size}",
            )
        try:
            # Compares the checksum too.
            data = self._archive.read(record)
        except _ZIP_ERRORS as error:
            raise sentences.damaged(
                self._where,
                f"its record {sentences.shown(name)} cannot be read "
                f"({_describe(error)})",
            ) from error
        if len(data) != record.file_size:
            raise sentences.damaged(
                self._where, f"its record {sentences.shown(name)} is too short"
            )
        return data


class LegacyFile:
    """The storages of a file of `torch.save` before PyTorch 1.6.

    Attributes:
        tree: What the file contains, see `pickles.Unpickler.load`.
    """

    def __init__(self, file: BinaryIO, stream: streams.Stream):
        """Reads the pickles, and where the storages lie.

        Args:
            file: The file of the stream.
            stream: The bytes behind the pickle of the magic number.

        Raises:
            CheckpointError: The file is damaged.
        """
        self._file = file
        self._where = stream.where
        unpickler = pickles.Unpickler(stream, has_storages=True)
        version = unpickler.load()
        if version != _VERSION:
            raise sentences.damaged(
                self._where,
                f"its version is {sentences.shown(version)} in place of "
                f"{_VERSION}",
            )
        # The machine: PyTorch writes little endian on every machine.
        unpickler.load()
        self.tree = unpickler.load()
        keys = unpickler.load()
        if not isinstance(keys, list):
            raise sentences.damaged(self._where, "it lists no storages")
        self._positions: dict[str, int] = {}
        for key in keys:
            self._find(stream, key, unpickler.storages or {})

    def _find(
        self,
        stream: streams.Stream,
        key: Any,
        storages: dict[str, pickled_names.Storage],
    ) -> None:
        """Notes where the next storage lies, and skips it."""
        if not isinstance(key, str) or key not in storages:
            raise sentences.damaged(
                self._where,
                f"it lists a storage {sentences.shown(key)} that no tensor has",
            )
        if key in self._positions:
            raise sentences.damaged(
                self._where,
                f"it lists the storage {sentences.shown(key)} twice",
            )
        storage = storages[key]
        size = stream.read_number("<q")
        if size != storage.size:
            raise sentences.damaged(
                self._where,
                f"its storage {sentences.shown(key)} has {size} elements in "
                f"place of {storage.size}",
            )
        self._positions[key] = stream.skip(
            size * elements.SIZES[storage.element]
        )

    def read(
        self, storage: pickled_names.Storage
    ) -> tuple[bytes, elements.Order]:
        """Reads the bytes of a storage, and returns their order too.

        Raises:
            CheckpointError: There is no such storage.
        """
        if storage.key not in self._positions:
            raise sentences.damaged(
                self._where,
                f"it does not list the storage {sentences.shown(storage.key)}",
            )
        size = storage.size * elements.SIZES[storage.element]
        self._file.seek(self._positions[storage.key])
        data = self._file.read(size)
        if len(data) != size:
            raise sentences.damaged(self._where, "it ends too early")
        return data, "<"


def _describe(error: Exception) -> str:
    return sentences.shown(str(error) or type(error).__name__, 120)
