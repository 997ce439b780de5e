# SPDX-License-Identifier: Apache-2.0
"""The program that checks records: `python data/check_data.py`."""

import os
from collections.abc import Sequence

import rich.console
import rich.table
from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import program, progress
from deeplab2_like.labels import descriptor as descriptor_lib

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_FILE_PATTERN = flags.DEFINE_multi_string(
    "file_pattern",
    [],
    "Glob pattern of record files; may be repeated.",
    flag_values=_FLAGS,
)
_DATASET = flags.DEFINE_string(
    "dataset",
    None,
    "Name or file of the data set descriptor.",
    flag_values=_FLAGS,
)
_RECORDS_PER_FILE = flags.DEFINE_integer(
    "records_per_file",
    8,
    "Records of each file to decode; -1 for all.",
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
        f"{report.num_files} files, {report.num_records} records,"
        f" {report.num_checked} of them decoded"
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
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    from deeplab2_like.data import checks, pipeline
    from deeplab2_like.data.records import files as record_files

    paths = record_files.find_files(pattern)
    with progress.Progress().phase("Checking files", len(paths)) as phase:
        report = checks.check_records(
            paths,
            pipeline.LabelRules.from_descriptor(descriptor),
            records_per_file=_RECORDS_PER_FILE.value,
            is_label_required=_LABELS.value,
            with_checksums=_CHECKSUMS.value,
            report_file=phase.advance,
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
    print("No problems found.")


def cli() -> None:
    """Checks record files."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
