# SPDX-License-Identifier: Apache-2.0
"""Checks records before training.

`check_first_record` is what the trainer checks; `check_records` decodes some or
all records of all files and counts their contents.
"""

import collections
import concurrent.futures
import dataclasses
import functools
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import graph_errors, pipeline, sources
from deeplab2_like.data.inspection import facts as facts_lib
from deeplab2_like.data.inspection.facts import ImageFacts
from deeplab2_like.data.records import decoding
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.data.records import headers as record_headers
from deeplab2_like.data.records import writer as record_writer
from deeplab2_like.storage import exif, in_order

_READ_ERRORS = (tf.errors.OpError, UnicodeDecodeError)
# Records that are read ahead of their use.
_AHEAD = 32


@dataclasses.dataclass
class Report:
    """Findings of a check of records.

    Attributes:
        num_files: Record files.
        num_records: Complete records in them.
        num_checked: Records that were decoded without a problem.
        problems: One sentence for each problem.
        sizes: Images by (height, width).
        pixels: Pixels by class; void is under the ignore label.
        instances: Segments with an instance number by class.
        max_instances: Most segments with an instance number in an image.
        max_class_instances: Most of them of one class in an image.
        num_turned: Images whose file has an EXIF orientation. It is not
            applied to records: labels are drawn on the pixels as stored.
    """

    num_files: int = 0
    num_records: int = 0
    num_checked: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)
    sizes: Counter[tuple[int, int]] = dataclasses.field(default_factory=Counter)
    pixels: Counter[int] = dataclasses.field(default_factory=Counter)
    instances: Counter[int] = dataclasses.field(default_factory=Counter)
    max_instances: int = 0
    max_class_instances: int = 0
    num_turned: int = 0

    def add(self, facts: ImageFacts) -> None:
        """Counts one image."""
        self.num_checked += 1
        self.num_turned += facts.is_turned
        self.sizes[facts.size] += 1
        classes, areas, numbers = facts.classes, facts.areas, facts.instances
        if classes is None or areas is None or numbers is None:
            return
        is_instance = numbers > 0
        for index, area in zip(classes, areas, strict=True):
            self.pixels[int(index)] += int(area)
        by_class = Counter(classes[is_instance].tolist())
        self.instances.update(by_class)
        self.max_class_instances = max(
            [self.max_class_instances, *by_class.values()]
        )
        self.max_instances = max(self.max_instances, int(is_instance.sum()))


def _make_decoder(
    rules: pipeline.LabelRules,
    is_label_required: bool,
    allows_damage: bool = False,
) -> Callable[..., dict[str, tf.Tensor]]:
    @tf.function(
        input_signature=[
            tf.TensorSpec([], tf.string),
            tf.TensorSpec([], tf.int64),
        ],
        autograph=False,
    )
    def decode(path: tf.Tensor, offset: tf.Tensor) -> dict[str, tf.Tensor]:
        record = sources.read_record(path, offset)
        example = decoding.decode_example(
            record,
            **dataclasses.asdict(rules),
            is_label_required=is_label_required,
            allows_damage=allows_damage,
        )
        parsed = record_features.parse_example(record)
        return example | {
            "file": parsed["image"],
            "has_label": tf.strings.length(parsed["label"]) > 0,
        }

    return decode


def _read_name(path: str, offset: int) -> str:
    """Reads the name in a record that could not be used as a whole."""
    try:
        serialized = sources.read_record(path, offset)
        return (
            record_features.parse_example(serialized)["name"].numpy().decode()
        )
    except _READ_ERRORS:
        return ""


def check_first_record(
    file_patterns: Sequence[str],
    rules: pipeline.LabelRules,
    *,
    is_label_required: bool = True,
    allows_damage: bool = False,
) -> None:
    """Decodes the first record, so that errors are found early.

    Args:
        file_patterns: Glob patterns of TFRecord files.
        rules: The labels that are allowed.
        is_label_required: Whether a record without a label is an error.
        allows_damage: Whether a damaged image or label is no error.

    Raises:
        errors.DataError: There is no record, or the first cannot be used.
    """
    path = record_files.find_files(file_patterns)[0]
    first = record_files.scan_file(path, max_records=1)
    if not len(first.offsets):
        raise errors.DataError(f"{first.problem}. Write or copy it again.")
    try:
        decode = _make_decoder(rules, is_label_required, allows_damage)
        decode(path, first.offsets[0])
    except _READ_ERRORS as error:
        problem = graph_errors.as_data_error(error)
        if problem is None:
            raise
        raise problem from error


def _choose(count: int, limit: int) -> np.ndarray:
    """Chooses `limit` places spread over `count`; all where it is < 0."""
    if limit < 0 or limit >= count:
        return np.arange(count)
    return np.unique(np.linspace(0, count - 1, limit).astype(int))


def _find_missing_shards(paths: Sequence[str]) -> list[str]:
    found: dict[Any, int] = collections.Counter()
    for path in paths:
        match = record_files.SHARD.match(path)
        if match:
            found[match[1], int(match[3])] += 1
    return [
        f"{os.path.basename(prefix)!r} has {count} of {total} shards. Copy the"
        " others, unless only a part is meant."
        for (prefix, total), count in found.items()
        if count != total
    ]


@dataclasses.dataclass(frozen=True)
class RecordImage:
    """A record without a problem.

    Attributes:
        path: Path of its file.
        offset: Byte at which it begins.
        name: Name of the image.
        facts: What it contains.
    """

    path: str
    offset: int
    name: str
    facts: ImageFacts


@dataclasses.dataclass(frozen=True)
class CheckOptions:
    """How records are checked.

    Attributes:
        records_per_file: Records of each file that are read, spread over the
            file; -1: all.
        is_label_required: Whether a record without a label is a problem.
        with_checksums: Whether files are compared with MANIFEST.sha256.
        is_quick: Whether only headers of images and labels are read.
        num_threads: Records that are read at once.
    """

    records_per_file: int = -1
    is_label_required: bool = True
    with_checksums: bool = False
    is_quick: bool = False
    num_threads: int = 1


def check_records(
    file_patterns: Sequence[str],
    rules: pipeline.LabelRules,
    options: CheckOptions | None = None,
    *,
    report_file: Callable[[int], None] | None = None,
    report_image: Callable[[RecordImage], None] | None = None,
) -> Report:
    """Checks record files.

    Args:
        file_patterns: Glob patterns of TFRecord files.
        rules: The labels that are allowed.
        options: How they are checked; by default completely.
        report_file: Function that is called with the number of files done.
        report_image: Function that is called with each record without a
            problem, in their order.

    Returns:
        The findings.

    Raises:
        errors.DataError: There are no files to check.
    """
    options = options or CheckOptions()
    paths = record_files.find_files(file_patterns)
    result = Report(num_files=len(paths))
    result.problems += _find_missing_shards(paths)
    read = _make_reader(rules, options)
    names: Counter[str] = Counter()
    with concurrent.futures.ThreadPoolExecutor(options.num_threads) as executor:
        for done, path in enumerate(paths):
            file = record_files.scan_file(path)
            result.num_records += len(file.offsets)
            if file.problem:
                result.problems.append(f"{file.problem}.")
            places = _choose(
                len(file.offsets), options.records_per_file
            ).tolist()
            for found in in_order.call(
                executor, functools.partial(read, file), places, _AHEAD
            ):
                if isinstance(found, str):
                    result.problems.append(found)
                    continue
                names[found.name] += 1
                result.add(found.facts)
                if report_image:
                    report_image(found)
            if report_file:
                report_file(done + 1)
    result.problems += [
        f"{count} records have the image name {name!r}. Names must differ:"
        " predictions are stored under them."
        for name, count in names.items()
        if count > 1
    ]
    if options.with_checksums:
        for folder in sorted({os.path.dirname(path) for path in paths}):
            result.problems += record_writer.find_manifest_problems(folder)
    return result


def _make_reader(
    rules: pipeline.LabelRules, options: CheckOptions
) -> Callable[[record_files.RecordFile, int], RecordImage | str]:
    """Makes the function that reads one record, or says what is wrong."""
    if options.is_quick:
        return functools.partial(
            _read_header, is_label_required=options.is_label_required
        )
    decode = _make_decoder(rules, options.is_label_required)

    def read(file: record_files.RecordFile, place: int) -> RecordImage | str:
        path, offset = file.path, int(file.offsets[place])
        try:
            example = decode(path, offset)
        except _READ_ERRORS as error:
            problem = graph_errors.as_data_error(error) or error
            return (
                f"{path!r}, record {place}, image"
                f" {_read_name(path, offset)!r}: {problem}"
            )
        orientation = exif.read_orientation(example["file"].numpy())
        found = facts_lib.measure(
            example["image"].numpy(),
            example["panoptic"].numpy() if example["has_label"] else None,
            rules.label_divisor,
            is_turned=orientation not in (None, 1),
        )
        name = example["name"].numpy().decode()
        return RecordImage(path, offset, name, found)

    return read


def _read_header(
    file: record_files.RecordFile, place: int, is_label_required: bool
) -> RecordImage | str:
    path, offset = file.path, int(file.offsets[place])
    name = ""
    try:
        serialized = record_headers.read_record(
            path, offset, int(file.lengths[place])
        )
        name, found = record_headers.measure(
            serialized, is_label_required=is_label_required
        )
    except errors.DataError as error:
        name = name or record_headers.read_name(serialized)
        return f"{path!r}, record {place}, image {name!r}: {error}"
    return RecordImage(path, offset, name, found)


def make_loader(
    rules: pipeline.LabelRules, *, is_label_required: bool = True
) -> Callable[[str, int], tuple[np.ndarray, np.ndarray | None]]:
    """Makes the function that decodes a record that was checked.

    Args:
        rules: The labels that are allowed.
        is_label_required: As it was when the records were checked.

    Returns:
        Function from the path of a file and the byte at which a record begins
        to its image, uint8 [H, W, 3], and its label, int32 [H, W], or None.
    """
    decode = _make_decoder(rules, is_label_required)

    def load(path: str, offset: int) -> tuple[np.ndarray, np.ndarray | None]:
        example = decode(path, offset)
        label = example["panoptic"].numpy() if example["has_label"] else None
        return example["image"].numpy(), label

    return load
