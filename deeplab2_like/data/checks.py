# SPDX-License-Identifier: Apache-2.0
"""Checks records before training.

`check_first_record` is what the trainer checks; `check_records` decodes some or
all records of all files and counts their contents.
"""

import collections
import dataclasses
import os
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import graph_errors, pipeline, sources
from deeplab2_like.data.records import decoding
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.data.records import writer as record_writer
from deeplab2_like.labels import label_map
from deeplab2_like.storage import exif

_READ_ERRORS = (tf.errors.OpError, UnicodeDecodeError)


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

    def add(self, panoptic_hw: np.ndarray, label_divisor: int) -> None:
        """Counts one image by its label, int32 [H, W]."""
        height, width = panoptic_hw.shape
        segments = label_map.compute_segments(panoptic_hw)
        classes = segments.ids // label_divisor
        is_instance = segments.ids % label_divisor > 0
        self.num_checked += 1
        self.sizes[height, width] += 1
        for index, area in zip(classes, segments.areas, strict=True):
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
        return example | {
            "file": record_features.parse_example(record)["image"]
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


def check_records(
    file_patterns: Sequence[str],
    rules: pipeline.LabelRules,
    *,
    records_per_file: int = -1,
    is_label_required: bool = True,
    with_checksums: bool = False,
    report_file: Callable[[int], None] | None = None,
    report_label: Callable[[str, np.ndarray], None] | None = None,
) -> Report:
    """Checks record files.

    Args:
        file_patterns: Glob patterns of TFRecord files.
        rules: The labels that are allowed.
        records_per_file: Records of each file that are decoded and counted,
            spread over the file; -1: all.
        is_label_required: Whether a record without a label is a problem.
        with_checksums: Whether files are compared with MANIFEST.sha256.
        report_file: Function that is called with the number of files done.
        report_label: Function that is called with the path of the file and the
            label, int32 [H, W], of each record without a problem.

    Returns:
        The findings.

    Raises:
        errors.DataError: There are no files to check.
    """
    paths = record_files.find_files(file_patterns)
    result = Report(num_files=len(paths))
    result.problems += _find_missing_shards(paths)
    decode = _make_decoder(rules, is_label_required)
    names: Counter[str] = Counter()
    for done, path in enumerate(paths):
        file = record_files.scan_file(path)
        result.num_records += len(file.offsets)
        if file.problem:
            result.problems.append(f"{file.problem}.")
        for place in _choose(len(file.offsets), records_per_file):
            offset = int(file.offsets[place])
            try:
                example = decode(path, offset)
            except _READ_ERRORS as error:
                problem = graph_errors.as_data_error(error) or error
                result.problems.append(
                    f"{path!r}, record {place}, image"
                    f" {_read_name(path, offset)!r}: {problem}"
                )
                continue
            names[example["name"].numpy().decode()] += 1
            panoptic = example["panoptic"].numpy()
            result.add(panoptic, rules.label_divisor)
            if report_label:
                report_label(path, panoptic)
            orientation = exif.read_orientation(example["file"].numpy())
            result.num_turned += orientation not in (None, 1)
        if report_file:
            report_file(done + 1)
    result.problems += [
        f"{count} records have the image name {name!r}. Names must differ:"
        " predictions are stored under them."
        for name, count in names.items()
        if count > 1
    ]
    if with_checksums:
        for folder in sorted({os.path.dirname(path) for path in paths}):
            result.problems += record_writer.find_manifest_problems(folder)
    return result
