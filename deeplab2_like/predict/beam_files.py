# SPDX-License-Identifier: Apache-2.0
"""Files of pipelines, wherever Beam's file systems find them.

In reading order: listing inputs, records in files, reading, and writing files
that appear whole and may be written again by a retry.
"""

import contextlib
import dataclasses
import io
import os
import posixpath
import struct
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO

import google_crc32c
from apache_beam.io.filesystem import BeamIOError, CompressionTypes
from apache_beam.io.filesystems import FileSystems

from deeplab2_like import errors
from deeplab2_like.predict import inputs as inputs_lib
from deeplab2_like.storage import image_decoding, image_files, user_paths

SHARD_FOLDER = "shards"
_PATTERN_CHARACTERS = "*?["
_PLAIN = CompressionTypes.UNCOMPRESSED
_PARTIAL = ".partial"
# Of a record: length, its checksum; behind the data, their checksum.
_HEADER = struct.Struct("<QI")
_FOOTER = struct.Struct("<I")


@dataclasses.dataclass(frozen=True)
class Input:
    """A pattern of files to predict.

    Attributes:
        pattern: As Beam's file systems read it.
        root: Folder below which paths are names of images; ends with "/".
        only_images: Whether files of other kinds are passed over.
    """

    pattern: str
    root: str
    only_images: bool = False


@dataclasses.dataclass(frozen=True, order=True)
class Reference:
    """An image to predict.

    Attributes:
        path: Its file.
        offset: Byte at which its record begins; -1 for an image file.
        file_name: Its name in the JSON file.
    """

    path: str
    offset: int
    file_name: str


@dataclasses.dataclass(frozen=True)
class Record:
    """A record of a TFRecord file.

    Attributes:
        number: Place in the file, from 0.
        offset: Byte at which it begins.
        data: Its content; None where it is damaged.
    """

    number: int
    offset: int
    data: bytes | None


def to_input(argument: str) -> Input:
    """Returns what an argument of the program means.

    Args:
        argument: A file, a folder of this machine or a pattern.

    Raises:
        ConfigError: The path cannot be used.
        DataError: No file matches.
    """
    path = to_absolute(user_paths.expand(argument, "The input "))
    if os.path.isdir(path):
        found = Input(f"{path}/**", f"{path}/", only_images=True)
    else:
        fixed = path
        for character in _PATTERN_CHARACTERS:
            fixed = fixed.split(character)[0]
        found = Input(path, fixed[: fixed.rfind("/") + 1])
    try:
        exists = any(
            result.metadata_list
            for result in FileSystems.match([found.pattern], [1])
        )
    except (BeamIOError, ValueError) as error:
        raise errors.DataError(
            f"The input {argument} cannot be looked up: "
            f"{str(error).splitlines()[0]}"
        ) from error
    if not exists:
        raise errors.DataError(
            f"The input {argument} matches no file. Name files, folders of "
            "this machine or patterns."
        )
    return found


def to_absolute(path: str) -> str:
    """Returns a local path as an absolute one, an address as it is."""
    return path if user_paths.is_remote(path) else os.path.abspath(path)


def list_files(entry: Input) -> Iterator[str]:
    """Yields the paths of the files that an input matches."""
    for result in FileSystems.match([entry.pattern]):
        for metadata in result.metadata_list:
            name = posixpath.basename(metadata.path)
            is_output = name.endswith(image_files.OUTPUT_ENDINGS)
            ending = posixpath.splitext(name)[1].lower()
            is_image = ending in image_decoding.SUFFIXES and name[:1] != "."
            if not is_output and (is_image or not entry.only_images):
                yield metadata.path


def is_record_file(path: str) -> bool:
    """Returns whether a path is named as TFRecord files are."""
    return inputs_lib.is_record_file(path)


def scan_records(path: str) -> Iterator[Record]:
    """Yields the records of a file, also those whose data are damaged.

    Raises:
        DataError: The file ends in a record, or the header of one is damaged:
            those behind it cannot be found.
    """
    with FileSystems.open(path, compression_type=_PLAIN) as file:
        number = offset = 0
        while header := file.read(_HEADER.size):
            if len(header) < _HEADER.size:
                raise errors.DataError(_describe_end(path, number, "cut off"))
            length, checksum = _HEADER.unpack(header)
            if checksum != _mask(header[:8]):
                raise errors.DataError(_describe_end(path, number, "damaged"))
            data = file.read(length)
            footer = file.read(_FOOTER.size)
            if len(footer) < _FOOTER.size:
                raise errors.DataError(_describe_end(path, number, "cut off"))
            is_good = _FOOTER.unpack(footer)[0] == _mask(data)
            yield Record(number, offset, data if is_good else None)
            number += 1
            offset += _HEADER.size + length + _FOOTER.size


def _describe_end(path: str, number: int, what: str) -> str:
    if not number:
        return (
            f"{path} is not a TFRecord file, or its first record is damaged or "
            "compressed. Write or copy it again."
        )
    return (
        f"{path} has {number} good records and is then {what}. Write or copy "
        "it again."
    )


def _mask(data: bytes) -> int:
    """Returns the masked CRC-32C that TFRecord files use."""
    checksum = google_crc32c.value(data)
    rotated = (checksum >> 15) | (checksum << 17)
    return (rotated + 0xA282EAD8) & 0xFFFFFFFF


def parse_record(data: bytes) -> tuple[str, bytes] | None:
    """Returns the name and the image file of a record.

    Returns:
        The name, "" where it is no UTF-8, and the content of the image file;
        None where the record is damaged.
    """
    import tensorflow as tf
    from google.protobuf import message

    from deeplab2_like.data.records import features

    try:
        example = tf.train.Example.FromString(data)
    except message.DecodeError:
        return None

    def get(key: str) -> bytes:
        values = example.features.feature[key].bytes_list.value
        return bytes(values[0]) if values else b""

    name, sequence = get(features.NAME), get(features.SEQUENCE)
    try:
        text = (sequence + b"/" + name if sequence else name).decode()
    except UnicodeDecodeError:
        text = ""
    return text, get(features.IMAGE)


def read(reference: Reference) -> bytes:
    """Reads an image file, or the serialized record of an image."""
    with FileSystems.open(reference.path, compression_type=_PLAIN) as file:
        if reference.offset < 0:
            return bytes(file.read())
        file.seek(reference.offset)
        length, _ = _HEADER.unpack(file.read(_HEADER.size))
        return bytes(file.read(length))


def read_file(path: str) -> bytes:
    """Reads a whole file."""
    return read(Reference(path, -1, ""))


def exists(path: str) -> bool:
    """Returns whether there is a file of this path."""
    return bool(FileSystems.exists(path))


def is_empty(folder: str) -> bool:
    """Returns whether a folder has no file, or does not exist."""
    try:
        found = FileSystems.match([f"{folder}/**"], [1])
    except BeamIOError:
        return True
    return not any(result.metadata_list for result in found)


@contextlib.contextmanager
def open_whole(folder: str, name: str) -> Iterator[IO[bytes]]:
    """Opens a file for writing, which appears whole when the block ends.

    An earlier file of this name, of another attempt, is replaced.

    Args:
        folder: Folder of the results.
        name: Path of the file below it.
    """
    path = f"{folder}/{name}"
    partial = f"{folder}/{_PARTIAL}/{uuid.uuid4().hex}"
    try:
        with FileSystems.create(partial, compression_type=_PLAIN) as file:
            yield file
        with contextlib.suppress(BeamIOError, OSError):  # It exists.
            FileSystems.mkdirs(posixpath.dirname(path))
        FileSystems.rename([partial], [path])
    except BaseException:
        remove(partial)
        raise


def write_file(folder: str, name: str, data: bytes) -> None:
    """Writes a whole file; see `open_whole`."""
    with open_whole(folder, name) as file:
        file.write(data)


@contextlib.contextmanager
def open_text(folder: str, name: str) -> Iterator[IO[str]]:
    """Opens a text file for writing; see `open_whole`."""
    with open_whole(folder, name) as file:
        text = io.TextIOWrapper(file, "utf-8", write_through=True)
        yield text
        text.detach()


def remove(path: str) -> None:
    """Removes a file or folder, if there is one."""
    with contextlib.suppress(BeamIOError, OSError):
        FileSystems.delete([path])


def remove_partials(folder: str) -> None:
    """Removes what attempts that were killed have left."""
    remove(f"{folder}/{_PARTIAL}")


def fetch_folder(folder: str) -> str:
    """Returns the path of a folder on this machine, copied if it is remote."""
    if not user_paths.is_remote(folder):
        return folder
    local = tempfile.mkdtemp(prefix="model-")
    for result in FileSystems.match([f"{folder.rstrip('/')}/**"]):
        for metadata in result.metadata_list:
            relative = metadata.path[len(folder.rstrip("/")) + 1 :]
            path = os.path.join(local, relative)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(read_file(metadata.path))
    return local
