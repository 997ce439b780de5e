# SPDX-License-Identifier: Apache-2.0
"""Writes a data set in COCO-panoptic layout as shards of records."""

import dataclasses
import functools
from collections import Counter
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from deeplab2_like import errors
from deeplab2_like.data import class_pixels
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.data.coco.loading import LoadSample, load_in_order
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer
from deeplab2_like.labels import coco_json, json_values
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.results import raw_predictions

# How many images with problems are looked for before giving up.
_MAX_BAD_IMAGES = 20
_MAX_NOTES = 3


@dataclasses.dataclass
class Summary:
    """The shards that were written and what they contain.

    Attributes:
        paths: Paths of the shards.
        num_images: Images in the shards.
        num_converted: Images that were rewritten as PNG.
        num_crowds: Crowd segments.
        num_other_areas: Segments with another `area` in the JSON file than
            pixels in the PNG.
        max_instances: Most instances of one class in an image.
        instances: Instances by class.
        pixels: Pixels by class; void is under the ignore label.
        notes: Sentences about what is left out of image files.
    """

    paths: list[str] = dataclasses.field(default_factory=list)
    num_images: int = 0
    num_converted: int = 0
    num_crowds: int = 0
    num_other_areas: int = 0
    max_instances: int = 0
    instances: Counter[int] = dataclasses.field(default_factory=Counter)
    pixels: Counter[int] = dataclasses.field(default_factory=Counter)
    notes: list[str] = dataclasses.field(default_factory=list)

    def add(self, sample: coco_samples.Sample, label_divisor: int) -> None:
        """Counts one image."""
        self.num_images += 1
        self.num_converted += sample.is_converted
        self.num_crowds += sample.num_crowds
        self.num_other_areas += sample.num_other_areas
        if sample.note:
            self.notes.append(sample.note)
        self.instances.update(sample.instances)
        self.max_instances = max(
            [self.max_instances, *sample.instances.values()]
        )
        if sample.panoptic is not None:
            classes = sample.panoptic.reshape(-1) // label_divisor
            counts = np.bincount(classes)
            present = np.flatnonzero(counts)
            self.pixels.update(
                dict(
                    zip(present.tolist(), counts[present].tolist(), strict=True)
                )
            )

    def describe(self, descriptor: DatasetDescriptor) -> list[str]:
        """Describes what was written, for the user: lines with warnings."""
        lines = [f"{self.num_images} images in {len(self.paths)} files."]
        if self.pixels:
            total = sum(self.pixels.values())
            void = 100 * self.pixels[descriptor.ignore_label] / total
            lines.append(
                f"{sum(self.instances.values())} instances (at most"
                f" {self.max_instances} of one class in an image),"
                f" {self.num_crowds} crowds, {void:.2f} % of the pixels void."
            )
            bare = [
                descriptor.class_names[index]
                for index in range(descriptor.num_classes)
                if not self.pixels[index] and index != descriptor.ignore_label
            ]
            if bare:
                lines.append(
                    f"{len(bare)} of {descriptor.num_classes} classes do not"
                    f" occur: {json_values.summarize(bare, 5)}. Nothing can be"
                    " learned or scored about them here."
                )
        return lines + self.list_remarks()

    def list_remarks(self) -> list[str]:
        """Lists what the user should know: sentences, some with "Warning: "."""
        lines = []
        if self.pixels:
            many = raw_predictions.describe_many_instances(self.max_instances)
            lines += [f"Warning: {many}"] if many else []
        if self.num_converted:
            lines.append(
                f"{self.num_converted} images were rewritten as RGB PNG (other"
                " format, or turned as their EXIF data says)."
            )
        if self.num_other_areas:
            lines.append(
                f"Warning: {self.num_other_areas} segments have another `area`"
                " in the JSON than pixels in the PNG, as polygon tools write"
                " it. Their pixels count; records contain no area."
            )
        lines += [f"Warning: {note}" for note in self.notes[:_MAX_NOTES]]
        if len(self.notes) > _MAX_NOTES:
            more = len(self.notes) - _MAX_NOTES
            lines.append(f"Warning: the same holds for {more} more images.")
        return lines


@dataclasses.dataclass(frozen=True)
class Output:
    """The shards to write.

    Attributes:
        folder: Folder of the shards.
        split: First part of their names.
        num_shards: Number of shards.
        overwrite: Whether older shards of the split are replaced.
    """

    folder: str
    split: str
    num_shards: int
    overwrite: bool = False


def write_coco_records(
    entries: Sequence[Entry],
    descriptor: DatasetDescriptor,
    output: Output,
    *,
    treat_crowd_as_ignore: bool = False,
    num_threads: int = 2,
    report: Callable[[int], None] | None = None,
) -> Summary:
    """Writes shards of records, all of them or none.

    Args:
        entries: Result of `entries.load_entries`.
        descriptor: The data set.
        output: The shards to write.
        treat_crowd_as_ignore: See `samples.number_segments`.
        num_threads: Images that are read at once.
        report: Function that is called with the number of images done.

    Returns:
        The shards and counts of what they contain.

    Raises:
        errors.DataError: See `write_samples`.
    """
    loaders = [
        functools.partial(
            coco_samples.load_sample,
            entry,
            descriptor,
            treat_crowd_as_ignore=treat_crowd_as_ignore,
        )
        for entry in entries
    ]
    return write_samples(
        loaders, descriptor, output, num_threads=num_threads, report=report
    )


def write_samples(
    loaders: Sequence[LoadSample],
    descriptor: DatasetDescriptor,
    output: Output,
    *,
    num_threads: int = 2,
    report: Callable[[int], None] | None = None,
    on_sample: Callable[[coco_samples.Sample], None] | None = None,
) -> Summary:
    """Writes images of any source as shards of records, all or none.

    Args:
        loaders: Function that loads each image, which raises
            `errors.DataError` for one that cannot be used.
        descriptor: The data set.
        output: The shards to write.
        num_threads: Images that are read at once.
        report: Function that is called with the number of images done.
        on_sample: Function that is called with each image, in order.

    Returns:
        The shards and counts of what they contain.

    Raises:
        errors.DataError: Images cannot be used, of which up to 20 are looked
            for, or `output` is refused; see `writer.write_shards`. Nothing is
            written.
    """
    summary = Summary()
    counts = _ShardCounts(len(loaders), output.num_shards, descriptor)
    problems: list[str] = []

    def encode() -> Iterator[bytes]:
        samples = load_in_order(loaders, num_threads)
        for done, sample in enumerate(samples):
            if report:
                report(done + 1)
            if isinstance(sample, errors.DataError):
                problems.append(str(sample))
                if len(problems) >= _MAX_BAD_IMAGES:
                    break
            elif not problems:
                summary.add(sample, descriptor.label_divisor)
                counts.add(sample)
                if on_sample:
                    on_sample(sample)
                yield record_features.encode_example(
                    name=sample.name,
                    image=sample.image,
                    image_format=sample.image_format,
                    size=sample.size,
                    panoptic=sample.panoptic,
                )
        coco_json.raise_problems(f"Split {output.split!r}", problems)

    summary.paths = record_writer.write_shards(
        encode(),
        len(loaders),
        output.folder,
        output.split,
        output.num_shards,
        overwrite=output.overwrite,
    )
    counts.store(summary.paths)
    return summary


class _ShardCounts:
    """The pixels by class of each shard, counted while they are written."""

    def __init__(
        self, num_images: int, num_shards: int, descriptor: DatasetDescriptor
    ):
        """Begins with no image.

        Args:
            num_images: Images of all shards.
            num_shards: See `writer.compute_shard_sizes`.
            descriptor: The data set.
        """
        self._sizes: list[int] = []
        if num_images > 0 and num_shards > 0:
            self._sizes = record_writer.compute_shard_sizes(
                num_images, num_shards
            )
        self._descriptor = descriptor
        self._counts: list[class_pixels.ClassPixels] = []
        self._is_complete = True

    def add(self, sample: coco_samples.Sample) -> None:
        """Counts the next image."""
        if sample.panoptic is None:
            self._is_complete = False
            return
        is_full = self._counts and (
            self._counts[-1].num_images == self._sizes[len(self._counts) - 1]
        )
        if is_full or not self._counts:
            classes = self._descriptor.num_classes
            self._counts.append(class_pixels.ClassPixels.empty(classes))
        pixels = class_pixels.count_label(sample.panoptic, self._descriptor)
        self._counts[-1].add_image(pixels, self._descriptor.thing_ids)

    def store(self, paths: Sequence[str]) -> None:
        """Stores the counts beside the shards, if all images have labels."""
        if self._is_complete:
            class_pixels.store_counts(
                dict(zip(paths, self._counts, strict=True)), self._descriptor
            )
