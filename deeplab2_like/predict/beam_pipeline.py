# SPDX-License-Identifier: Apache-2.0
"""A pipeline of Apache Beam that predicts images with an exported model.

In reading order: `Job` and `build`, whose steps follow. Each file has a name
that depends on the image alone and appears whole, so that a step may run twice.
"""

import dataclasses
import io
import json
import posixpath
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import apache_beam as beam
import numpy as np
import numpy.typing as npt
from apache_beam.ml.inference import base
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import image_ids as image_ids_lib
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.predict import beam_files
from deeplab2_like.predict.beam_files import Input, Reference
from deeplab2_like.predict.beam_handler import PanopticModelHandler
from deeplab2_like.predict.result_folder import (
    FAILURES_FILE,
    JSON_FILE,
    PANOPTIC_ENDING,
)
from deeplab2_like.results import coco_writer, raw_predictions
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import image_decoding, json_files

_FAILURES = "failures"
_COMPRESSION = 3

Named = tuple[str, int | str | None, Reference]


@dataclasses.dataclass(frozen=True)
class Job:
    """What a pipeline is to do.

    Attributes:
        model: Folder of an exported model.
        inputs: What is predicted.
        out: Folder of the results, without "/" at the end.
        descriptor: The data set of the model.
        max_pixels: Most pixels of an image.
        num_shards: Number of JSON files that are joined into one.
        upright: Whether the EXIF orientation of image files is applied.
        image_ids: Ids of the images by name; None where names decide.
    """

    model: str
    inputs: Sequence[Input]
    out: str
    descriptor: DatasetDescriptor
    max_pixels: int
    num_shards: int = 10
    upright: bool = True
    image_ids: Mapping[str, int | str] | None = None


def build(pipeline: beam.Pipeline, job: Job) -> None:
    """Adds the steps of a job to a pipeline.

    Written are PNGs as deeplab2-predict writes them, `shards/*.json`, and when
    these are complete `panoptic.json`, which joins them, and `failures.json`.
    """

    def add(step: beam.DoFn, values: Any, name: str, **more: Any) -> Any:
        found = values | name >> beam.ParDo(step, **more).with_outputs(
            _FAILURES, main="found"
        )
        failures.append(found[_FAILURES])
        return found["found"]

    failures: list[Any] = []
    paths = (
        pipeline
        | "Inputs" >> beam.Create(list(job.inputs))
        | "List" >> beam.FlatMap(_list_files)
        | "Spread" >> beam.Reshuffle()
    )
    references = add(_FindImages(job), paths, "FindImages")
    named = add(
        _Name(),
        references | "ByName" >> beam.GroupByKey(),
        "Name",
    )
    loaded = add(_Load(job), named, "Load")
    predicted = loaded | "Predict" >> base.RunInference(
        base.KeyedModelHandler(PanopticModelHandler(job.model))
    )
    written = add(_Write(job), predicted, "Write")
    are_numbers = (
        written
        | "Names" >> beam.Keys()
        | "AreNumbers" >> beam.CombineGlobally(_AreNumbers())
    )
    shards = (
        written
        | "ToShards" >> beam.Map(_to_shard, job.num_shards)
        | "ByShard" >> beam.GroupByKey()
        | "WriteShard"
        >> beam.ParDo(_WriteShard(job), beam.pvalue.AsSingleton(are_numbers))
    )
    _ = (
        pipeline
        | "Once" >> beam.Create([job.out])
        | "Join"
        >> beam.ParDo(
            _Join(job),
            beam.pvalue.AsIter(shards),
            beam.pvalue.AsIter(failures | "AllFailures" >> beam.Flatten()),
        )
    )


def _fail(source: str, problem: str) -> beam.pvalue.TaggedOutput:
    return beam.pvalue.TaggedOutput(
        _FAILURES, {"source": source, "problem": problem}
    )


def _list_files(entry: Input) -> Iterator[tuple[str, str]]:
    for path in beam_files.list_files(entry):
        yield path, entry.root


def _to_shard(named: tuple[str, str], count: int) -> tuple[int, str]:
    name, line = named
    return zlib.crc32(name.encode()) % count, line


class _FindImages(beam.DoFn):
    """From (path, root) to ((name or id), reference) of each image."""

    def __init__(self, job: Job):
        self._job = job
        self._index: image_ids_lib.NameIndex | None = None

    def setup(self) -> None:
        if self._job.image_ids is not None:
            self._index = image_ids_lib.NameIndex(self._job.image_ids)

    def process(self, element: tuple[str, str]) -> Iterator[Any]:
        path, root = element
        if not beam_files.is_record_file(path):
            name = path.removeprefix(root)
            yield self._key(Reference(path, -1, name), path)
            return
        try:
            for record in beam_files.scan_records(path):
                yield self._find(path, record)
        except errors.DataError as error:
            yield _fail(path, str(error))

    def _find(self, path: str, record: beam_files.Record) -> Any:
        source = f"{path}#{record.number}"
        what = f"Record {record.number} of {path}"
        parsed = (
            beam_files.parse_record(record.data)
            if record.data is not None
            else None
        )
        if parsed is None:
            return _fail(source, f"{what} is damaged. Write the file again.")
        if not parsed[0]:
            return _fail(source, f"{what} has no name in UTF-8.")
        return self._key(Reference(path, record.offset, parsed[0]), source)

    def _key(self, reference: Reference, source: str) -> Any:
        name = reference.file_name
        try:
            stem = raw_predictions.choose_path(name, "--out").as_posix()
        except errors.DataError as error:
            return _fail(source, str(error))
        if reference.offset < 0:
            stem = posixpath.splitext(name)[0]
        if self._index is None:
            return (stem.casefold(), None), (reference, stem)
        image_id = self._index.find(reference.path, name)
        if image_id is None:
            return _fail(
                source, f"The image {name} is not among those with ids."
            )
        return ("", image_id), (reference, stem)


class _Name(beam.DoFn):
    """Names the results of images of one name, all differently."""

    def process(
        self,
        element: tuple[tuple[str, int | str | None], Iterable[Any]],
    ) -> Iterator[Any]:
        (_, image_id), found = element
        references = sorted({*found})
        (first, stem), *others = references
        yield stem, image_id, first
        for reference, other_stem in others:
            if image_id is not None:
                yield _fail(
                    reference.path,
                    f"The image {reference.file_name} is twice among the "
                    "inputs.",
                )
                continue
            where = f"{reference.path}#{reference.offset}".encode()
            yield f"{other_stem}-{zlib.crc32(where):08x}", None, reference


class _Load(beam.DoFn):
    """Reads and decodes images."""

    def __init__(self, job: Job):
        self._job = job

    def process(self, element: Named) -> Iterator[Any]:
        reference = element[2]
        try:
            yield element, self._decode(reference)
        except (errors.DataError, OSError) as error:
            yield _fail(_describe(reference), str(error))

    def _decode(self, reference: Reference) -> npt.NDArray[np.uint8]:
        data = beam_files.read(reference)
        is_record = reference.offset >= 0
        what = reference.path
        if is_record:
            parsed = beam_files.parse_record(data)
            data = parsed[1] if parsed else b""
            what = f"{reference.file_name} in {what}"
        encoded = image_decoding.open_image(
            data, what, max_pixels=self._job.max_pixels
        )
        return encoded.decode(
            upright=self._job.upright and not is_record, as_in_training=True
        )


def _describe(reference: Reference) -> str:
    """Names an image in the list of failures."""
    if reference.offset < 0:
        return reference.path
    return f"{reference.path}#{reference.file_name}"


class _Write(beam.DoFn):
    """Writes the PNG of an image; yields what the JSON file says of it."""

    def __init__(self, job: Job):
        self._job = job

    def process(
        self, element: tuple[Named, PanopticResult | str]
    ) -> Iterator[Any]:
        (name, image_id, reference), found = element
        if isinstance(found, str):
            yield _fail(_describe(reference), found)
            return
        png_name = name + PANOPTIC_ENDING
        rgb_hw3, annotation = found.to_coco(png_name, name)
        stream = io.BytesIO()
        Image.fromarray(rgb_hw3).save(
            stream, format="PNG", compress_level=_COMPRESSION
        )
        beam_files.write_file(self._job.out, png_name, stream.getvalue())
        entry = {
            "name": name,
            "id": image_id,
            "annotation": annotation,
            "image": {
                "file_name": reference.file_name,
                "height": found.height,
                "width": found.width,
            },
        }
        yield name, json_files.to_line(entry)


class _AreNumbers(beam.CombineFn):
    """Whether names are numbers, all different: of one length."""

    def create_accumulator(self) -> tuple[bool, frozenset[int], bool]:
        return True, frozenset(), False

    def add_input(self, mutable_accumulator: Any, element: str) -> Any:
        is_number = element.isascii() and element.isdigit()
        zero = element.startswith("0") and element != "0"
        return self.merge_accumulators(
            [
                mutable_accumulator,
                (is_number, frozenset([len(element)]), zero),
            ]
        )

    def merge_accumulators(self, accumulators: Iterable[Any]) -> Any:
        numbers, lengths, zeros = zip(*accumulators, strict=True)
        return all(numbers), frozenset().union(*lengths), any(zeros)

    def extract_output(self, accumulator: Any) -> bool:
        are_numbers, lengths, has_zeros = accumulator
        return are_numbers and (len(lengths) <= 1 or not has_zeros)


class _WriteShard(beam.DoFn):
    """Writes the JSON file of a part of the images; yields its name."""

    def __init__(self, job: Job):
        self._job = job

    def process(
        self, element: tuple[int, Iterable[str]], are_numbers: bool
    ) -> Iterator[str]:
        number, lines = element
        entries = sorted(map(json.loads, lines), key=lambda e: str(e["name"]))
        for entry in entries:
            image_id = entry["id"]
            if image_id is None:
                name = entry["name"]
                image_id = int(name) if are_numbers else name
            entry["annotation"]["image_id"] = image_id
            entry["image"] = {"id": image_id, **entry["image"]}
        name = (
            f"{beam_files.SHARD_FOLDER}/panoptic-{number:05d}-of-"
            f"{self._job.num_shards:05d}.json"
        )
        with beam_files.open_text(self._job.out, name) as file:
            coco_writer.dump_index(
                file,
                self._job.descriptor,
                (entry["annotation"] for entry in entries),
                (entry["image"] for entry in entries),
            )
        yield name


class _Join(beam.DoFn):
    """Joins the JSON files of all parts, one at a time in memory."""

    def __init__(self, job: Job):
        self._job = job

    def process(
        self, out: str, shards: Iterable[str], failures: Iterable[Any]
    ) -> None:
        names = sorted(shards)
        listed = sorted(failures, key=lambda entry: str(entry["source"]))
        if listed:
            beam_files.write_file(
                out, FAILURES_FILE, json_files.to_text(listed).encode()
            )
        if names:
            with beam_files.open_text(out, JSON_FILE) as file:
                coco_writer.dump_index(
                    file,
                    self._job.descriptor,
                    self._read(names, "annotations"),
                    self._read(names, "images"),
                )

    def _read(self, names: Sequence[str], key: str) -> Iterator[Any]:
        for name in names:
            data = beam_files.read_file(f"{self._job.out}/{name}")
            yield from json.loads(data)[key]
