# SPDX-License-Identifier: Apache-2.0
"""Looks at a data set, and writes its descriptor and records.

`look` reads a part of the images and says what they are like; `write` converts
all of them. The command is deeplab2-prepare.
"""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Mapping, Sequence

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data.coco import loading
from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes import (
    contact_sheet,
    conversion,
    forms,
    out_folder,
)
from deeplab2_like.recipes import survey as survey_lib
from deeplab2_like.recipes.forms.source import VAL, Example, Source

# Images that are looked at before anything is written.
MAX_LOOKED_AT = 200
_MAX_PROBLEMS = 20
_DRAWN = 3


@dataclasses.dataclass(frozen=True)
class Findings:
    """What is known about a data set.

    Attributes:
        title: What was found, a line for the user.
        question: See `Source`.
        survey: What the images are like; None where none could be read.
        num_images: Images by split.
        num_looked_at: How many of them were read.
        split_rule: How images were set aside; "" where the data say it.
        remarks: Sentences that the user should know.
        problems: Sentences about images that cannot be used.
    """

    title: str
    question: str
    survey: survey_lib.DataSurvey | None
    num_images: Mapping[str, int]
    num_looked_at: int
    split_rule: str
    remarks: Sequence[str]
    problems: Sequence[str] = ()


def look(
    request: forms.Request,
    picture: str | os.PathLike[str] | None = None,
    *,
    max_images: int = MAX_LOOKED_AT,
    num_threads: int = 2,
    report: progress.Progress | None = None,
) -> Findings:
    """Looks at a data set; writes nothing but the picture.

    Args:
        request: Where the data are.
        picture: Path of the picture of three images with their labels; None
            for none.
        max_images: Most images that are read, spread over the data.
        num_threads: Images that are read at once.
        report: Display of the progress; on standard error when None.

    Raises:
        errors.DataError: The data are of no form that is understood, or their
            classes cannot be described.
        errors.ConfigError: `picture` is another file.
    """
    report = report or progress.Progress()
    if picture is not None:
        contact_sheet.check(picture)
    source = forms.find_source(request)
    with tempfile.TemporaryDirectory() as folder:
        descriptor, remarks = conversion.write_descriptor(
            source,
            pathlib.Path(folder),
            conversion.name_data(request),
            out_folder.PREPARE_SIGNATURE,
        )
    splits, rule = _list_splits(source, descriptor, remarks)
    chosen = [
        (split, example)
        for split, examples in splits.items()
        for example in examples
    ]
    step = max(1.0, len(chosen) / max_images)
    chosen = [chosen[int(i * step)] for i in range(int(len(chosen) / step))]
    reader = _Reader(descriptor, len(chosen))
    with report.phase("Reading", len(chosen), unit="images") as phase:
        loaded = loading.load_in_order(
            [example.load for _, example in chosen], num_threads
        )
        for done, (sample, (split, _)) in enumerate(
            zip(loaded, chosen, strict=True), 1
        ):
            reader.add(sample, split)
            phase.advance(done)
            if len(reader.problems) >= _MAX_PROBLEMS:
                break
    if picture is not None and reader.drawn:
        contact_sheet.write(
            picture, contact_sheet.draw(reader.drawn, descriptor)
        )
    return Findings(
        source.title,
        source.question,
        reader.finish(),
        {split: len(examples) for split, examples in splits.items()},
        len(chosen),
        rule,
        _unique([*remarks, *reader.remarks]),
        reader.problems,
    )


def write(
    request: forms.Request,
    out: str | os.PathLike[str],
    *,
    overwrite: bool = False,
    num_threads: int = 2,
    report: progress.Progress | None = None,
) -> Findings:
    """Writes descriptor, records and a picture of three images.

    Args:
        request: Where the data are.
        out: Folder to write.
        overwrite: Whether files of an earlier call are replaced.
        num_threads: Images that are read at once.
        report: Display of the progress; on standard error when None.

    Raises:
        errors.DataError: The data cannot be used, or leave a question open.
            Nothing is written then.
        errors.ConfigError: `out` is refused.
    """
    report = report or progress.Progress()
    out = pathlib.Path(out)
    out_folder.check(out, overwrite=overwrite)
    contact_sheet.check(out / out_folder.PICTURE_FILE)
    source = forms.find_source(request)
    if source.question:
        raise errors.DataError(source.question)
    with out_folder.open_folder(out) as folder:
        descriptor, remarks = conversion.write_descriptor(
            source,
            folder,
            conversion.name_data(request),
            out_folder.PREPARE_SIGNATURE,
        )
        splits, rule = _list_splits(source, descriptor, remarks)
        survey, more = conversion.write_records(
            splits, descriptor, folder, num_threads, report
        )
        examples = [one for part in splits.values() for one in part]
        draw_samples(examples, descriptor, folder)
    return Findings(
        source.title,
        "",
        survey,
        {split: len(part) for split, part in splits.items()},
        len(examples),
        rule,
        _unique([*remarks, *more]),
    )


def draw_samples(
    examples: Sequence[Example],
    descriptor: DatasetDescriptor,
    folder: pathlib.Path,
) -> None:
    """Writes the picture of three images.

    Args:
        examples: All images.
        descriptor: The data set.
        folder: Folder of the picture.

    Raises:
        errors.DataError: An image cannot be used.
    """
    drawn = [examples[i].load() for i in _spread(len(examples))]
    contact_sheet.write(
        folder / out_folder.PICTURE_FILE, contact_sheet.draw(drawn, descriptor)
    )


def _list_splits(
    source: Source, descriptor: DatasetDescriptor, remarks: list[str]
) -> tuple[dict[str, list[Example]], str]:
    examples = source.list_examples(
        descriptor, lambda text: remarks.append(f"Warning: {text}")
    )
    return conversion.split_examples(examples)


class _Reader:
    """Measures the images that are read, and keeps a few of them."""

    def __init__(self, descriptor: DatasetDescriptor, num_images: int):
        """Begins with no image.

        Args:
            descriptor: The data set.
            num_images: Images that will be read.
        """
        self._surveyor = survey_lib.Surveyor(descriptor)
        self._places = _spread(num_images)
        self._count = 0
        self._num_good = 0
        self.drawn: list[Sample] = []
        self.remarks: list[str] = []
        self.problems: list[str] = []

    def add(self, sample: Sample | errors.DataError, split: str) -> None:
        """Takes the next image, or the error why it cannot be used."""
        wanted = sum(place <= self._count for place in self._places)
        self._count += 1
        if isinstance(sample, errors.DataError):
            self.problems.append(str(sample))
            return
        if sample.panoptic is None:
            return
        self._surveyor.add(sample.panoptic, is_val=split == VAL)
        self._num_good += 1
        if sample.note:
            self.remarks.append(f"Warning: {sample.note}")
        if len(self.drawn) < wanted:
            self.drawn.append(sample)

    def finish(self) -> survey_lib.DataSurvey | None:
        """Returns what was found."""
        return self._surveyor.finish() if self._num_good else None


def _spread(count: int) -> list[int]:
    """Returns up to three places, spread over a number of images."""
    if count <= _DRAWN:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * _DRAWN) for i in range(_DRAWN)]


def _unique(remarks: Sequence[str]) -> list[str]:
    return [*dict.fromkeys(remarks)]
