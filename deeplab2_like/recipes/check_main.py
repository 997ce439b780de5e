# SPDX-License-Identifier: Apache-2.0
"""Checks images and labels before training: counts them, and lists problems.

    deeplab2-check-data PHOTOS [--report=FOLDER]
    deeplab2-check-data --dataset=DATASET --file_pattern='records/train-*'

PHOTOS is a folder of images and labels in any form that deeplab2-prepare reads,
or a JSON file that lists them. DATASET is the name of a shipped data set
descriptor, or the file of your own, and the pattern matches record files.
Classes, sizes, objects, duplicates and names are counted; --report writes them
as a page with pictures, and as JSON. Exits with 3 when there are problems.
"""

import os
import pathlib
from collections.abc import Sequence

from absl import flags

from deeplab2_like import config, errors
from deeplab2_like.console import native_logs, path_flags, program
from deeplab2_like.data.records import paths as record_paths
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.recipes import forms, reading_flags
from deeplab2_like.recipes.inspection import own_data, printing, writing
from deeplab2_like.recipes.inspection.checked import Checked
from deeplab2_like.recipes.inspection.samples import NUM_SAMPLES
from deeplab2_like.reports.data_check import PROBLEM, WARNING
from deeplab2_like.storage import user_paths

_AUTO = "auto"
_SHOWN_PROBLEMS = 20
# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_REPORT = path_flags.define(
    "report",
    None,
    "Folder in which report.html, a page with charts and pictures, and "
    "metrics.json are written.",
    flag_values=_FLAGS,
)
_QUICK = flags.DEFINE_bool(
    "quick",
    False,
    "Read names and headers only: sizes, names and equal files, without "
    "classes and pictures.",
    flag_values=_FLAGS,
)
_SAMPLES = flags.DEFINE_integer(
    "samples",
    NUM_SAMPLES,
    "Most images that --report draws, those that need attention first.",
    flag_values=_FLAGS,
    lower_bound=0,
)
_NUM_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    0,
    "Images that are read at once; 0: one for each core.",
    flag_values=_FLAGS,
    lower_bound=0,
)
_FILE_PATTERN = path_flags.define_multi(
    "file_pattern",
    "Pattern of record files, in quotes. May be given several times.",
    flag_values=_FLAGS,
)
_DATASET = path_flags.define(
    "dataset",
    None,
    "Name or file of the data set descriptor of records.",
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
    "Compare record files with MANIFEST.sha256.",
    flag_values=_FLAGS,
)
_FROM = flags.DEFINE_enum(
    "from",
    _AUTO,
    [_AUTO, *(form.key for form in forms.FORMS)],
    "The form of the labels of PHOTOS; auto: as the files show.",
    flag_values=_FLAGS,
)
_READING = reading_flags.define(_FLAGS)


def _main(arguments: Sequence[str]) -> None:
    is_folder = bool(arguments)
    if is_folder and (_FILE_PATTERN.value or _DATASET.value):
        raise errors.ConfigError(
            f"Unexpected argument {arguments[0]!r}: give either a folder of "
            "images and labels, or records by --dataset and --file_pattern, in "
            "quotes so that the shell leaves the pattern alone."
        )
    if len(arguments) > 1:
        raise errors.ConfigError(
            f"Give one folder, or one JSON file, not {len(arguments)}: for "
            "example deeplab2-check-data photos."
        )
    folder = pathlib.Path(_REPORT.value) if _REPORT.value else None
    if folder is not None:
        writing.check_folder(folder)
    if is_folder:
        checked = _check_folder(arguments[0])
    elif _FILE_PATTERN.value or _DATASET.value:
        checked = _check_records()
    else:
        raise errors.ConfigError(
            "Nothing to check is given. Give a folder of images and labels, "
            "for example deeplab2-check-data photos, or records: "
            "--file_pattern='records/train-*' with --dataset=scenes."
        )
    printing.print_check(checked.check)
    if folder is not None:
        print(f"Page      {writing.write(checked, folder, _SAMPLES.value)}")
    _raise_problems(checked)
    warnings = checked.check.count_level(WARNING)
    more = f" {warnings} warnings." if warnings > 1 else " 1 warning."
    print(f"No problems found.{more if warnings else ''}")


def _count_processes() -> int:
    if _NUM_PROCESSES.value:
        return int(_NUM_PROCESSES.value)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _check_folder(argument: str) -> Checked:
    request = _READING.make_request(
        pathlib.Path(user_paths.expand(argument)),
        "" if _FROM.value == _AUTO else _FROM.value,
    )
    checked = own_data.check(
        request, is_quick=_QUICK.value, num_processes=_count_processes()
    )
    print(f"Found     {checked.check.form}")
    return checked


def _check_records() -> Checked:
    dataset = program.require(
        _DATASET, "the name or file of the data set descriptor", "scenes"
    )
    pattern = _FILE_PATTERN.value
    if not pattern:
        raise errors.ConfigError(
            "--file_pattern is missing. Give the records, in quotes, for "
            "example --file_pattern='records/train-*.tfrecord'."
        )
    descriptor = descriptor_lib.load(dataset)
    record_paths.find_files(pattern)
    remarks = [
        f"Warning: {warning.rule}. {warning.fix}"
        for warning in config.list_dataset_warnings(
            config.load_dataset(dataset)
        )
    ]
    native_logs.load_tensorflow()
    from deeplab2_like.data import checks
    from deeplab2_like.recipes.inspection import record_data

    options = checks.CheckOptions(
        records_per_file=_RECORDS_PER_FILE.value,
        is_label_required=_LABELS.value,
        with_checksums=_CHECKSUMS.value,
        is_quick=_QUICK.value,
        num_threads=_count_processes(),
    )
    checked, found = record_data.check(
        pattern, descriptor, options, remarks=remarks
    )
    what = "read" if _QUICK.value else "decoded and counted"
    sample = ""
    if _RECORDS_PER_FILE.value >= 0 and found.num_checked < found.num_records:
        sample = (
            f": a sample of {_RECORDS_PER_FILE.value} of each file "
            "(--records_per_file)"
        )
    print(
        f"{found.num_files} files, {found.num_records} records, "
        f"{found.num_checked} of them {what}{sample}"
    )
    return checked


def _raise_problems(checked: Checked) -> None:
    """Raises an error that lists the problems, if there are any."""
    found = [f for f in checked.check.findings if f.level == PROBLEM]
    count = sum(finding.count for finding in found)
    if not count:
        return
    shown = [text for finding in found for text in finding.examples]
    shown = shown[:_SHOWN_PROBLEMS]
    if count > len(shown):
        shown.append(f"... and {count - len(shown)} more.")
    start = "1 problem." if count == 1 else f"{count} problems."
    raise errors.DataError("\n  ".join([start, *shown]))


def cli() -> None:
    """Checks data (console command deeplab2-check-data)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
