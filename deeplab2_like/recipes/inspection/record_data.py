# SPDX-License-Identifier: Apache-2.0
"""Checks record files; the part of a check that needs TensorFlow."""

import array
import os
from collections.abc import Sequence

from deeplab2_like.console import progress
from deeplab2_like.data import checks, class_pixels, pipeline
from deeplab2_like.data.inspection import summary
from deeplab2_like.data.inspection.collector import Collector, Sentences
from deeplab2_like.data.inspection.findings import Evidence
from deeplab2_like.data.records import paths as record_paths
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.inspection.checked import Checked, LoadImage

_ALL = "records"


def check(
    patterns: Sequence[str],
    descriptor: DatasetDescriptor,
    options: checks.CheckOptions,
    *,
    remarks: Sequence[str] = (),
    report: progress.Progress | None = None,
) -> tuple[Checked, checks.Report]:
    """Checks record files.

    Whole files without a problem get their numbers of pixels by class stored
    beside them, which training warns by and takes weights of classes from.

    Args:
        patterns: Patterns of the files.
        descriptor: The data set.
        options: How they are checked.
        remarks: Sentences about the descriptor.
        report: Display of the progress; on standard error when None.

    Returns:
        What was found in the images, and in the files.

    Raises:
        errors.DataError: There are no files to check.
    """
    report = report or progress.Progress()
    paths = record_paths.find_files(patterns)
    images = _Images(paths, descriptor)
    rules = pipeline.LabelRules.from_descriptor(descriptor)
    with report.phase("Checking files", len(paths), unit="files") as phase:
        found = checks.check_records(
            patterns,
            rules,
            options,
            report_file=phase.advance,
            report_image=images.add,
        )
    is_whole = found.num_checked == found.num_records
    if (
        is_whole
        and options.is_label_required
        and not options.is_quick
        and not found.problems
    ):
        class_pixels.store_counts(images.counts, descriptor)
    problems = Sentences()
    for problem in found.problems:
        problems.add(problem)
    equal, near = summary.find_twins(images.collector)
    evidence = Evidence(
        images.collector,
        equal,
        near,
        problems,
        remarks,
        is_quick=options.is_quick,
        is_sample=not is_whole,
        checks_names=False,  # `check_records` has done it.
    )
    folder = os.path.basename(os.path.dirname(os.path.abspath(paths[0])))
    done = summary.summarize(
        evidence,
        descriptor.name,
        f"{found.num_files} record files in {folder}, data set "
        f"{descriptor.name}.",
        found.num_records,
    )
    load = (
        None
        if options.is_quick
        else images.make_loader(rules, options.is_label_required)
    )
    return Checked(done, evidence, load), found


class _Images:
    """The images of records.

    Attributes:
        collector: What they contain.
        counts: Pixels by class of each file.
    """

    def __init__(self, paths: Sequence[str], descriptor: DatasetDescriptor):
        """Begins without images.

        Args:
            paths: The record files.
            descriptor: The data set.
        """
        self._descriptor = descriptor
        self._paths = paths
        self._splits = {path: _find_split(path) for path in paths}
        splits = sorted(
            {*self._splits.values()}, key=lambda s: ("train" not in s, s)
        )
        self.collector = Collector(descriptor, splits)
        self.counts: dict[str, class_pixels.ClassPixels] = {}
        self._numbers = {path: number for number, path in enumerate(paths)}
        self._files = array.array("I")
        self._offsets = array.array("q")

    def add(self, image: checks.RecordImage) -> None:
        """Adds an image."""
        split = self.collector.splits.index(self._splits[image.path])
        self.collector.add(image.name, split, len(self._files), image.facts)
        self._files.append(self._numbers[image.path])
        self._offsets.append(image.offset)
        data = self._descriptor
        if image.path not in self.counts:
            self.counts[image.path] = class_pixels.ClassPixels.empty(
                data.num_classes
            )
        self.counts[image.path].add_image(
            class_pixels.count_segments(image.facts, data), data.thing_ids
        )

    def make_loader(
        self, rules: pipeline.LabelRules, is_label_required: bool
    ) -> LoadImage:
        """Makes the function that loads an image again."""
        load = checks.make_loader(rules, is_label_required=is_label_required)
        return lambda key: load(
            self._paths[self._files[key]], self._offsets[key]
        )


def _find_split(path: str) -> str:
    """Returns the split that the name of a shard begins with."""
    match = record_paths.SHARD.match(path)
    return os.path.basename(match[1]) or _ALL if match else _ALL
