# SPDX-License-Identifier: Apache-2.0
"""What a check of data found, as its metrics.json and its page have it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.reports.report import Picture

PROBLEM, WARNING, NOTE = LEVELS = ("problem", "warning", "note")
_NAME_LENGTH = 40


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something that the user should look at.

    Attributes:
        level: `PROBLEM`: the data cannot be used so. `WARNING`: they can, and
            scores or training suffer. `NOTE`: good to know.
        title: What was found, a sentence.
        advice: What it means, and what to do; "" where the title says it.
        examples: The first names or sentences about it.
        count: How many of them there are.
    """

    level: str
    title: str
    advice: str = ""
    examples: tuple[str, ...] = ()
    count: int = 0

    @property
    def has_names(self) -> bool:
        """Whether the examples are names, of which several fit a line."""
        return bool(self.examples) and all(
            len(one) <= _NAME_LENGTH and " and " not in one
            for one in self.examples
        )


@dataclasses.dataclass(frozen=True)
class Split:
    """The images of a split.

    Attributes:
        name: Its name, such as "train".
        images: Number of images.
        pixels: Pixels of labels.
        void_pixels: Those of them that have no class.
        instances: Things, crowds not counted.
        crowds: Crowd segments.
    """

    name: str
    images: int
    pixels: int
    void_pixels: int
    instances: int
    crowds: int


@dataclasses.dataclass(frozen=True)
class ClassCounts:
    """A class; each number is a list with one for each split.

    Attributes:
        name: Its name.
        is_thing: Whether its segments are instances.
        pixels: Pixels, those of crowds included.
        images: Images in which it occurs.
        instances: Instances, crowds not counted; 0 for stuff.
        crowds: Crowd segments; 0 for stuff.
    """

    name: str
    is_thing: bool
    pixels: tuple[int, ...]
    images: tuple[int, ...]
    instances: tuple[int, ...]
    crowds: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class DataCheck:
    """What was found in the images and labels of a data set.

    Attributes:
        name: Name of the data.
        form: In which form they are, and where.
        is_quick: Whether only headers and names were read.
        has_labels: Whether there are numbers about labels.
        num_images: Images that are listed.
        splits: The images that could be read, by split.
        classes: The classes, without one that stands for void.
        sizes: (height, width, number of images), the most frequent first.
        instances_per_image: (instances, number of images), rising.
        instance_sides: (lowest side, side below which, instances, rising),
            where the side is that of a square of the same area, in pixels.
        equal: Images that have an equal one in their split, and images that
            have an equal one in a split before theirs.
        near: The same for images that look nearly equal.
        findings: What needs attention, first things first.
    """

    name: str
    form: str
    is_quick: bool
    has_labels: bool
    num_images: int
    splits: tuple[Split, ...]
    classes: tuple[ClassCounts, ...]
    sizes: tuple[tuple[int, int, int], ...]
    instances_per_image: tuple[tuple[int, int], ...]
    instance_sides: tuple[tuple[int, int, int], ...]
    equal: tuple[int, int]
    near: tuple[int, int]
    findings: tuple[Finding, ...]

    @property
    def num_good(self) -> int:
        """Number of images that could be read."""
        return sum(split.images for split in self.splits)

    @property
    def num_instances(self) -> int:
        """Number of instances."""
        return sum(split.instances for split in self.splits)

    def count_level(self, level: str) -> int:
        """Counts the findings of a level."""
        return sum(finding.level == level for finding in self.findings)

    def to_metrics(self) -> dict[str, Any]:
        """Returns everything as plain values, for a JSON file."""
        return {"format": 1, **dataclasses.asdict(self)}


@dataclasses.dataclass(frozen=True)
class SampleImage:
    """An image with its label, drawn.

    Attributes:
        name: Name of the image.
        split: Its split.
        reason: Why it is shown; "" for one of several, spread over the data.
        content: What its label contains, such as "3 car, 2 person, sky".
        pictures: The image, and the image with its label.
    """

    name: str
    split: str
    reason: str
    content: str
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class DataReport:
    """What the page shows.

    Attributes:
        check: The numbers.
        data: The same numbers, as metrics.json has them.
        samples: Images, those that need attention first.
        colors: Name and (red, green, blue) in 0..255 of each color of the
            pictures.
    """

    check: DataCheck
    data: Mapping[str, Any]
    samples: Sequence[SampleImage] = ()
    colors: Sequence[tuple[str, tuple[int, int, int]]] = ()
