# SPDX-License-Identifier: Apache-2.0
"""Checks record files: counts their contents and lists problems.

    python data/check_data.py --dataset=DATASET --file_pattern='records/train-*'

Exits with 3 when there are problems. DATASET is the name of a shipped data set
descriptor, or the file of your own.
"""

from collections.abc import Sequence

import numpy as np
import rich.console
import rich.table
from absl import flags

from deeplab2_like import config, errors
from deeplab2_like.console import native_logs, path_flags, program, progress
from deeplab2_like.data.records import paths as record_paths
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import json_values
from deeplab2_like.results import raw_predictions

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_FILE_PATTERN = path_flags.define_multi(
    "file_pattern",
    "Pattern of record files, in quotes. May be given several times. Required.",
    flag_values=_FLAGS,
)
_DATASET = path_flags.define(
    "dataset",
    None,
    "Name or file of the data set descriptor. Required.",
    flag_values=_FLAGS,
)
_RECORDS_PER_FILE = flags.DEFINE_integer(
    "records_per_file",
    -1,
    "Records of each file to decode and count, for a quick look; -1 for all.",
    flag_values=_FLAGS,
)
_LABELS = flags.DEFINE_bool(
    "labels",
    True,
    "Whether a record without a label is a problem.",
    flag_values=_FLAGS,
)
_CHECKSUMS = flags.DEFINE_bool(
    "checksums",
    False,
    "Compare the files with MANIFEST.sha256.",
    flag_values=_FLAGS,
)
_SHOWN_PROBLEMS = 20


def _print_report(report, descriptor: descriptor_lib.DatasetDescriptor) -> None:
    console = rich.console.Console(highlight=False)
    console.print(
        f"{report.num_files} files, {report.num_records} records, "
        + _describe_sample(report)
    )
    if not report.num_checked:
        return
    heights = [height for height, _ in report.sizes]
    widths = [width for _, width in report.sizes]
    console.print(
        f"images {min(heights)} to {max(heights)} high,"
        f" {min(widths)} to {max(widths)} wide, {len(report.sizes)} sizes;"
        f" at most {report.max_instances} instances in an image"
    )
    if report.num_turned:
        console.print(
            f"{report.num_turned} image files have an EXIF orientation; it is"
            " not applied to records, whose labels belong to the stored pixels"
        )
    table = rich.table.Table("class", "name", "pixels", "instances")
    total = sum(report.pixels.values())
    for index in sorted(report.pixels):
        is_void = index == descriptor.ignore_label
        name = "(void)" if is_void else descriptor.class_names[index]
        table.add_row(
            str(index),
            name,
            f"{100 * report.pixels[index] / total:.2f} %",
            str(report.instances[index] or ""),
        )
    console.print(table)
    for warning in _list_warnings(report, descriptor):
        console.print(f"warning: {warning}", soft_wrap=True)


def _list_warnings(
    report, descriptor: descriptor_lib.DatasetDescriptor
) -> list[str]:
    """Lists sentences about classes and instances."""
    warnings = [
        raw_predictions.describe_many_instances(report.max_class_instances)
    ]
    absent = [
        name
        for index, name in enumerate(descriptor.class_names)
        if not report.pixels[index] and index != descriptor.ignore_label
    ]
    if absent and report.num_checked == report.num_records:
        warnings.append(
            f"{len(absent)} of {descriptor.num_classes} classes do not occur: "
            f"{json_values.summarize(absent, 5)}. Trained on these records, a "
            "model learns nothing about them; evaluated on them, they are not "
            "scored."
        )
    return [warning for warning in warnings if warning]


def _describe_sample(report) -> str:
    """Returns which records were counted."""
    limit = _RECORDS_PER_FILE.value
    if limit < 0 or report.num_checked == report.num_records:
        return f"{report.num_checked} of them decoded and counted"
    return (
        f"{report.num_checked} of them decoded and counted: a sample of "
        f"{limit} of each file (--records_per_file)"
    )


def _main(arguments: Sequence[str]) -> None:
    if arguments:
        raise errors.ConfigError(
            f"Unexpected argument {arguments[0]!r}: patterns are given by"
            " --file_pattern, in quotes so that the shell leaves them alone."
        )
    dataset = program.require(
        _DATASET, "the name or file of the data set descriptor", "scenes"
    )
    pattern = program.require(
        _FILE_PATTERN, "the records, in quotes", "'records/train-*.tfrecord'"
    )
    descriptor = descriptor_lib.load(dataset)
    paths = record_paths.find_files(pattern)
    for warning in config.list_dataset_warnings(config.load_dataset(dataset)):
        print(warning)
    native_logs.load_tensorflow()
    from deeplab2_like.data import checks, class_pixels, pipeline

    counts: dict[str, class_pixels.ClassPixels] = {}

    def count(path: str, panoptic_hw: np.ndarray) -> None:
        found = counts.setdefault(
            path, class_pixels.ClassPixels.empty(descriptor.num_classes)
        )
        pixels = class_pixels.count_label(panoptic_hw, descriptor)
        found.add_image(pixels, descriptor.thing_ids)

    with progress.Progress().phase(
        "Checking files", len(paths), unit="files"
    ) as phase:
        report = checks.check_records(
            pattern,
            pipeline.LabelRules.from_descriptor(descriptor),
            records_per_file=_RECORDS_PER_FILE.value,
            is_label_required=_LABELS.value,
            with_checksums=_CHECKSUMS.value,
            report_file=phase.advance,
            report_label=count,
        )
    _print_report(report, descriptor)
    if report.problems:
        shown = report.problems[:_SHOWN_PROBLEMS]
        more = len(report.problems) - len(shown)
        if more:
            shown.append(f"... and {more} more.")
        raise errors.DataError(
            "\n  ".join([f"{len(report.problems)} problems.", *shown])
        )
    if _LABELS.value and report.num_checked == report.num_records:
        # Training warns of classes without a pixel, and takes weights of
        # classes from these counts.
        class_pixels.store_counts(counts, descriptor)
    print("No problems found.")


def cli() -> None:
    """Checks record files."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
