# SPDX-License-Identifier: Apache-2.0
"""From a data set in a form that is understood to descriptor and records."""

import pathlib
from collections.abc import Mapping, Sequence

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.console import native_logs, progress
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes import forms, out_folder, splitting
from deeplab2_like.recipes import survey as survey_lib
from deeplab2_like.recipes.forms.source import TRAIN, VAL, Example, Source
from deeplab2_like.storage import whole_files

_IMAGES_PER_SHARD = 8
_MAX_SHARDS = 10


def name_data(request: forms.Request) -> str:
    """Names a data set by its folder."""
    name = request.root.resolve().name
    return name if name.isprintable() and name else "data"


def write_descriptor(
    source: Source, folder: pathlib.Path, name: str, signature: str
) -> tuple[DatasetDescriptor, list[str]]:
    """Writes the descriptor of a data set.

    Args:
        source: The data.
        folder: Folder of the file.
        name: Name of the data set.
        signature: First line of the file, a comment.

    Returns:
        The descriptor, and sentences that the user should know.

    Raises:
        errors.DataError: The classes cannot be described.
    """
    text, notes = source.describe(name)
    path = folder / out_folder.DATASET_FILE
    whole_files.write_text(path, f"# {signature}\n{text}")
    remarks = [f"Check: {note}" for note in notes]
    descriptor = descriptor_lib.load(str(path))
    remarks += [
        f"Warning: {warning.rule}. {warning.fix}"
        for warning in config_lib.list_dataset_warnings(
            config_lib.load_dataset(str(path))
        )
    ]
    return descriptor, remarks


def write_records(
    splits: Mapping[str, Sequence[Example]],
    descriptor: DatasetDescriptor,
    folder: pathlib.Path,
    num_threads: int,
    report: progress.Progress,
) -> tuple[survey_lib.DataSurvey, list[str]]:
    """Writes the records of a data set, and measures it.

    Args:
        splits: Result of `split_examples`.
        descriptor: The data set.
        folder: Folder in which the folder of the records is made.
        num_threads: Images that are read at once.
        report: Display of the progress.

    Returns:
        What the images are like, and sentences that the user should know.

    Raises:
        errors.DataError: Images cannot be used.
    """
    native_logs.load_tensorflow()
    from deeplab2_like.data.coco import records

    surveyor = survey_lib.Surveyor(descriptor)
    remarks: list[str] = []
    done = 0
    with report.phase(
        "Converting", sum(map(len, splits.values())), unit="images"
    ) as phase:

        def convert(split: str, examples: Sequence[Example]) -> list[str]:
            def survey_sample(sample: Sample) -> None:
                if sample.panoptic is not None:
                    surveyor.add(sample.panoptic, is_val=split == VAL)

            summary = records.write_samples(
                [example.load for example in examples],
                descriptor,
                records.Output(
                    str(folder / out_folder.RECORDS_FOLDER),
                    split,
                    count_shards(len(examples)),
                ),
                num_threads=num_threads,
                report=lambda number: phase.advance(done + number),
                on_sample=survey_sample,
            )
            return summary.list_remarks()

        for split, examples in splits.items():
            remarks += convert(split, examples)
            done += len(examples)
    return surveyor.finish(), remarks


def count_shards(num_images: int) -> int:
    """Returns how many files a split of so many images gets."""
    return max(1, min(_MAX_SHARDS, num_images // _IMAGES_PER_SHARD))


def split_examples(
    examples: Sequence[Example],
) -> tuple[dict[str, list[Example]], str]:
    """Divides images into training and evaluation.

    Args:
        examples: One image or more.

    Returns:
        The images by split; and how they were divided, "" where the data say
        it.

    Raises:
        errors.DataError: There is no image.
    """
    if not examples:
        raise errors.DataError("There is no image with a label.")
    if all(example.split for example in examples):
        return {
            split: [e for e in examples if e.split == split]
            for split in (TRAIN, VAL)
        }, ""
    if len(examples) == 1:
        one = list(examples)
        return {TRAIN: one, VAL: one}, (
            "on the only image, which is trained on, too: scores say nothing "
            "about other images"
        )
    chosen = splitting.choose_evaluation(
        {example.name: example.class_ids for example in examples}
    )
    return {
        TRAIN: [e for e in examples if e.name not in chosen],
        VAL: [e for e in examples if e.name in chosen],
    }, splitting.RULE
