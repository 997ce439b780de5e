# SPDX-License-Identifier: Apache-2.0
"""Images without labels: of files, folders, records and videos."""

import concurrent.futures
import dataclasses
import functools
import hashlib
import io
import os
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import same_images, sources
from deeplab2_like.data.records import features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.predict import inputs as inputs_lib
from deeplab2_like.predict.options import PredictOptions
from deeplab2_like.predict.running import require_video_reader
from deeplab2_like.storage import (
    file_identity,
    image_decoding,
    image_files,
    in_order,
    whole_files,
)

_MAX_THREADS = 8
_KEY_LETTERS = 16  # Of the checksum in the name of a folder of frames.


@dataclasses.dataclass(frozen=True)
class EncodedImage:
    """An image as a record holds it.

    Attributes:
        content: Content of a JPEG or PNG file.
        file_format: "jpeg" or "png".
        pixels: uint8 [H, W, 3], what training decodes from it.
        is_converted: Whether the file was rewritten: another format, or
            turned as its EXIF orientation says.
        note: Sentence about what is passed over; "" if nothing is.
    """

    content: bytes
    file_format: str
    pixels: npt.NDArray[np.uint8]
    is_converted: bool = False
    note: str = ""

    @property
    def digest(self) -> bytes:
        """Checksum of size and pixels, whatever the format of the file."""
        return same_images.compute_digest(self.pixels)


@dataclasses.dataclass(frozen=True)
class UnlabeledImage:
    """An image that is to be labelled.

    Attributes:
        name: Name of its record.
        origin: Where it is, for messages.
        load: Function that loads it; raises `DataError`.
        inputs: Files that it depends on.
        sequence: The video that it is a frame of; "" for single images.
    """

    name: str
    origin: str
    load: Callable[[], EncodedImage]
    inputs: tuple[str, ...]
    sequence: str = ""

    @property
    def full_name(self) -> str:
        """The name that training and predictions show."""
        return f"{self.sequence}/{self.name}" if self.sequence else self.name

    @property
    def version(self) -> str:
        """Its name, and which versions of its files they are."""
        found = [file_identity.describe(path).version for path in self.inputs]
        return f"{self.full_name!a} {found}"


@dataclasses.dataclass(frozen=True)
class Failure:
    """What was left out.

    Attributes:
        source: Path of the file, or record or frame of it.
        problem: What is wrong, a sentence.
    """

    source: str
    problem: str


def find_images(
    arguments: Sequence[str | os.PathLike[str]],
    options: PredictOptions,
    frames: pathlib.Path,
    *,
    max_pixels: int,
    warn: Callable[[str], None],
) -> tuple[list[UnlabeledImage], list[Failure]]:
    """Finds the images that the arguments of a program mean.

    Frames of videos are written to a folder first, as PNG, because records are
    read in any order.

    Args:
        arguments: See `predict.inputs.find_inputs`.
        options: How images are turned, and which frames are taken.
        frames: Folder for the frames.
        max_pixels: Most pixels of an image.
        warn: Function that is called with sentences about what is passed over.

    Returns:
        The images in the order of the arguments, first files, then records,
        then videos; and what of records and videos cannot be read.

    Raises:
        DataError: An argument does not exist, a folder has no image, two
            images have the same name, or a name is no text.
        InstallError: A video is given, and PyAV is not installed.
    """
    found = inputs_lib.find_inputs(arguments, warn=warn)
    if found.videos:
        require_video_reader()
    upright = options.exif == "apply"
    files, records = _divide(found.images)
    images = [
        UnlabeledImage(
            file.relative_path,
            str(file.path),
            functools.partial(_load_file, file.path, max_pixels, upright),
            (str(file.path),),
        )
        for file in files
    ]
    failures: list[Failure] = []
    for path in [*found.records, *records]:
        file = record_files.scan_file(path)
        if file.problem:
            failures.append(Failure(path, f"{file.problem}. Write it again."))
        for number, offset in enumerate(file.offsets.tolist()):
            try:
                images.append(_find_record(path, number, offset, max_pixels))
            except errors.DataError as error:
                failures.append(Failure(f"{path}#{number}", str(error)))
    for video in found.videos:
        try:
            images += _find_frames(video, options, frames, failures)
        except errors.DataError as error:
            failures.append(Failure(str(video.path), str(error)))
    _check_names(images)
    return images, failures


def list_places(found: inputs_lib.Inputs) -> list[same_images.Place]:
    """Lists where images are, without frames of videos, to compare them.

    Args:
        found: Result of `predict.inputs.find_inputs`.

    Raises:
        DataError: A file of records cannot be read, or has no record.
    """
    files, records = _divide(found.images)
    return [
        *same_images.list_files(str(file.path) for file in files),
        *same_images.list_records([*found.records, *records]),
    ]


def identify(found: inputs_lib.Inputs) -> str:
    """Returns a checksum of which files there are, and of their versions.

    Args:
        found: Result of `predict.inputs.find_inputs`.
    """
    files = [
        *((file.relative_path, str(file.path)) for file in found.images),
        *((os.path.basename(path), path) for path in found.records),
        *((file.relative_path, str(file.path)) for file in found.videos),
    ]
    lines = [
        f"{name!a} {file_identity.describe(path).version}"
        for name, path in files
    ]
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _divide(
    files: Sequence[image_files.ImageFile],
) -> tuple[list[image_files.ImageFile], list[str]]:
    """Divides files into images, and TFRecord files of any name."""
    images, records = [], []
    for file in files:
        is_named = file.path.suffix.lower() in image_decoding.SUFFIXES
        if not is_named and _begins_as_record(str(file.path)):
            records.append(str(file.path))
        else:
            images.append(file)
    return images, records


def _begins_as_record(path: str) -> bool:
    try:
        return bool(len(record_files.scan_file(path, max_records=1).offsets))
    except errors.DataError:
        return False


def _check_names(images: Sequence[UnlabeledImage]) -> None:
    """Checks names: records have texts, and facts are kept by them."""
    known: dict[str, UnlabeledImage] = {}
    for image in images:
        features.encode_name(image.full_name)
        other = known.setdefault(image.full_name, image)
        if other is not image:
            raise errors.DataError(
                f"{other.origin} and {image.origin} have the same name "
                f"{image.full_name!r}. Leave one of them out, or write its "
                "record with another name."
            )


def encode(
    content: bytes, subject: str, max_pixels: int, *, upright: bool
) -> EncodedImage:
    """Reads an image file as a record is to hold it.

    Args:
        content: Content of the file.
        subject: The image in messages, the first words of a sentence.
        max_pixels: Most pixels of an image.
        upright: Whether it is turned as its EXIF orientation says.

    Raises:
        DataError: The file is damaged, or no image that can be read.
    """
    image = image_decoding.open_image(content, subject, max_pixels=max_pixels)
    is_turned = upright and image.orientation != 1
    pixels_hw3 = image.decode(upright=is_turned, as_in_training=True)
    if image.is_plain and not is_turned:
        kind = image.format.lower()
        return EncodedImage(content, kind, pixels_hw3, note=image.note)
    output = io.BytesIO()
    Image.fromarray(pixels_hw3).save(output, format="PNG")
    return EncodedImage(
        output.getvalue(), "png", pixels_hw3, True, note=image.note
    )


def _load_file(
    path: pathlib.Path, max_pixels: int, upright: bool
) -> EncodedImage:
    content = image_files.read_file(path)
    return encode(content, str(path), max_pixels, upright=upright)


def _find_record(
    path: str, number: int, offset: int, max_pixels: int
) -> UnlabeledImage:
    what = f"Record {number} of {path}"
    name, _ = _read_record(path, offset, what)
    if not name:
        raise errors.DataError(
            f"{what} has no name (feature {features.NAME!r}). Write the "
            "records with names."
        )

    def load() -> EncodedImage:
        _, content = _read_record(path, offset, what)
        # Labels of records are drawn on the pixels as stored.
        return encode(content, f"{what} ({name})", max_pixels, upright=False)

    return UnlabeledImage(name, what, load, (path,))


def _read_record(path: str, offset: int, what: str) -> tuple[str, bytes]:
    """Returns the name of a record and the content of its image file."""
    try:
        serialized = sources.read_record(
            tf.constant(path), tf.constant(offset, tf.int64)
        )
        parsed = features.parse_example(serialized)
        return parsed["name"].numpy().decode(), parsed["image"].numpy()
    except (tf.errors.OpError, UnicodeDecodeError) as error:
        raise errors.DataError(
            f"{what} is damaged. Write or copy the file again."
        ) from error


def _find_frames(
    video: image_files.ImageFile,
    options: PredictOptions,
    folder: pathlib.Path,
    failures: list[Failure],
) -> Iterator[UnlabeledImage]:
    """Writes the frames of a video, and yields them."""
    from deeplab2_like.predict import video_reader

    target = folder / f"{video.name}.{_identify(video.path)}"
    target.mkdir(parents=True, exist_ok=True)
    with video_reader.VideoReader(video.path) as reader:
        for frame in reader.read(
            step=options.frame_step,
            start=options.start_seconds,
            end=options.end_seconds,
        ):
            if isinstance(frame, video_reader.Damage):
                problem = f"{video.path}, frame {frame.number}: {frame.problem}"
                source = f"{video.path}#{frame.number}"
                failures.append(Failure(source, f"{problem}."))
                continue
            path = target / f"{frame.number:06d}.png"
            if not path.exists():
                with whole_files.open_whole(path) as stream:
                    Image.fromarray(frame.pixels).save(stream, format="PNG")
            yield UnlabeledImage(
                path.name,
                f"{video.path}, frame {frame.number}",
                functools.partial(_load_file, path, frame.pixels.size, False),
                (str(video.path),),
                sequence=video.name,
            )


def _identify(path: pathlib.Path) -> str:
    """Returns a checksum of path, size and time of a file."""
    found = file_identity.describe(path)
    text = f"{found.path} {found.version}"
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[
        :_KEY_LETTERS
    ]


def check_images(
    images: Sequence[UnlabeledImage],
    advance: Callable[[int], None] = lambda _: None,
) -> tuple[list[UnlabeledImage], list[bytes], list[Failure]]:
    """Decodes all images once, so that damaged ones are known.

    Args:
        images: The images.
        advance: Function that is called with the number of images done.

    Returns:
        The images that can be decoded, the digest of each, and the others.
    """

    def read(image: UnlabeledImage) -> bytes | Failure:
        try:
            return image.load().digest
        except errors.DataError as error:
            return Failure(image.origin, str(error))

    good, digests, failures = [], [], []
    count = min(_MAX_THREADS, os.cpu_count() or 1)
    with concurrent.futures.ThreadPoolExecutor(count) as executor:
        results = in_order.call(executor, read, images, count)
        for number, result in enumerate(results, 1):
            if isinstance(result, Failure):
                failures.append(result)
            else:
                digests.append(result)
                good.append(images[number - 1])
            advance(number)
    return good, digests, failures
