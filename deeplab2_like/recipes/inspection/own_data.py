# SPDX-License-Identifier: Apache-2.0
"""Checks labels in the form that the user has them."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Mapping, Sequence

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data.inspection import facts as facts_lib
from deeplab2_like.data.inspection import summary
from deeplab2_like.data.inspection.collector import Collector, Sentences
from deeplab2_like.data.inspection.facts import ImageFacts
from deeplab2_like.data.inspection.findings import Evidence
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes import conversion, forms, out_folder
from deeplab2_like.recipes.forms.source import TRAIN, VAL, Example
from deeplab2_like.recipes.inspection import headers, processes
from deeplab2_like.recipes.inspection.checked import Checked, LoadImage


@dataclasses.dataclass(frozen=True)
class Listed:
    """The images of a data set, not read yet.

    Attributes:
        title: What was found, a line for the user.
        descriptor: The data set.
        splits: Images by split.
        remarks: Sentences that the user should know.
    """

    title: str
    descriptor: DatasetDescriptor
    splits: Mapping[str, Sequence[Example]]
    remarks: Sequence[str]


def check(
    request: forms.Request,
    *,
    is_quick: bool = False,
    num_processes: int = 1,
    report: progress.Progress | None = None,
) -> Checked:
    """Checks all images and labels of a data set.

    Args:
        request: Where the data are.
        is_quick: Whether only names and headers are read.
        num_processes: Processes that read images.
        report: Display of the progress; on standard error when None.

    Raises:
        errors.DataError: The data are of no form that is understood, or their
            classes cannot be described.
    """
    report = report or progress.Progress()
    listed = list_headers(request) if is_quick else list_images(request)
    examples = [one for part in listed.splits.values() for one in part]
    numbers = [i for i, part in enumerate(listed.splits.values()) for _ in part]
    collector = Collector(listed.descriptor, [*listed.splits])
    problems = Sentences()
    divisor = listed.descriptor.label_divisor

    def read(place: int) -> ImageFacts | str:
        try:
            if is_quick:
                return headers.measure(examples[place])
            return _measure(examples[place], divisor)
        except errors.DataError as error:
            return str(error)

    # The processes begin before there is a second thread, that of the display.
    results = processes.call_in_order(read, len(examples), num_processes)
    with report.phase("Reading", len(examples), unit="images") as phase:
        for place, found in enumerate(results):
            if isinstance(found, str):
                problems.add(found)
            else:
                collector.add(
                    examples[place].name, numbers[place], place, found
                )
            phase.advance(place + 1)
    equal, near = summary.find_twins(collector)
    evidence = Evidence(
        collector,
        equal,
        near,
        problems,
        list(dict.fromkeys(listed.remarks)),
        is_quick=is_quick,
    )
    name = conversion.name_data(request)
    return Checked(
        summary.summarize(evidence, name, listed.title, len(examples)),
        evidence,
        None if is_quick else _make_loader(examples),
    )


def list_images(request: forms.Request) -> Listed:
    """Lists the images and labels of a data set.

    Args:
        request: Where the data are.

    Raises:
        errors.DataError: See `check`.
    """
    source = forms.find_source(request)
    with tempfile.TemporaryDirectory() as folder:
        descriptor, remarks = conversion.write_descriptor(
            source,
            pathlib.Path(folder),
            conversion.name_data(request),
            out_folder.PREPARE_SIGNATURE,
        )
    examples = source.list_examples(
        descriptor, lambda text: remarks.append(f"Warning: {text}")
    )
    splits = _divide(examples, remarks)
    if source.question:
        remarks.insert(0, f"Warning: {source.question}")
    return Listed(source.title, descriptor, splits, remarks)


def list_headers(request: forms.Request) -> Listed:
    """Lists the images of a data set without decoding any label image.

    Args:
        request: Where the data are.

    Raises:
        errors.DataError: See `check`.
    """
    if not headers.has_label_images(request):
        return list_images(request)
    examples, remarks = headers.list_pairs(request)
    return Listed(
        "Images with label images, paired by their names.",
        headers.NO_CLASSES,
        _divide(examples, remarks),
        remarks,
    )


def _divide(
    examples: Sequence[Example], remarks: list[str]
) -> dict[str, Sequence[Example]]:
    """Divides images by split, and says how."""
    splits, rule = conversion.split_examples(examples)
    if rule:
        remarks.append(f"Images are set aside for evaluation: {rule}.")
    if splits[TRAIN] == splits[VAL]:
        return {TRAIN: splits[TRAIN], VAL: []}
    return {**splits}


def _measure(example: Example, label_divisor: int) -> ImageFacts:
    sample = example.load()
    if sample.pixels is None:
        raise ValueError(f"{example.name!r} was not decoded.")
    return facts_lib.measure(
        sample.pixels, sample.panoptic, label_divisor, note=sample.note
    )


def _make_loader(examples: Sequence[Example]) -> LoadImage:
    def load(key: int):
        sample = examples[key].load()
        if sample.pixels is None:
            raise ValueError(f"{sample.name!r} was not decoded.")
        return sample.pixels, sample.panoptic

    return load
