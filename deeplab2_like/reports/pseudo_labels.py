# SPDX-License-Identifier: Apache-2.0
"""What is known of pseudo labels, as their JSON and their page have it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.reports.data_check import SampleImage


@dataclasses.dataclass(frozen=True)
class ViewAgreement:
    """A view of the images, compared with the average of all views.

    Attributes:
        scale: Factor by which images are enlarged.
        is_mirrored: Whether left and right are exchanged.
        equal: Share of the pixels whose most probable class is that of the
            average, mean over images; None with one view.
    """

    scale: float
    is_mirrored: bool
    equal: float | None


@dataclasses.dataclass(frozen=True)
class ClassLabels:
    """The pseudo labels of a class.

    Attributes:
        name: Its name.
        is_thing: Whether its segments are instances.
        pixels: Pixels.
        images: Images in which it occurs.
        instances: Instances; 0 for stuff.
        confidence: Mean probability; None where it is not known.
        threshold: Least probability of pixels that got a label.
        iou: Intersection over union of views and average; None with one view.
    """

    name: str
    is_thing: bool
    pixels: int
    images: int
    instances: int
    confidence: float | None
    threshold: float
    iou: float | None


@dataclasses.dataclass(frozen=True)
class ImageLabels:
    """The pseudo label of an image.

    Attributes:
        name: Its name.
        height: In pixels.
        width: In pixels.
        instances: Number of instances.
        void: Share of the pixels without a label.
        confidence: Mean probability; None where it is not known.
        equal: Share of the pixels where views agree with their average; None
            with one view.
    """

    name: str
    height: int
    width: int
    instances: int
    void: float
    confidence: float | None
    equal: float | None


@dataclasses.dataclass(frozen=True)
class PseudoLabels:
    """The pseudo labels of a set of images.

    Attributes:
        split: Names of the record files begin with it.
        model: The model that labelled.
        settings: Checksum of what the labels depend on.
        views: The views that were averaged.
        void: Share of the pixels without a label.
        mean_iou: Agreement of views and average: mean of `ClassLabels.iou`.
        classes: The classes.
        images: The images, in the order of the records.
        failures: Source and problem of what was left out.
    """

    split: str
    model: str
    settings: str
    views: tuple[ViewAgreement, ...]
    void: float
    mean_iou: float | None
    classes: tuple[ClassLabels, ...]
    images: tuple[ImageLabels, ...]
    failures: tuple[tuple[str, str], ...]

    @property
    def num_instances(self) -> int:
        """Number of instances."""
        return sum(one.instances for one in self.classes)

    @property
    def mean_confidence(self) -> float | None:
        """Mean probability of all labels; None where it is not known."""
        known = [one for one in self.classes if one.confidence is not None]
        total = sum(one.pixels for one in known)
        if not total:
            return None
        return sum((one.confidence or 0) * one.pixels for one in known) / total

    @property
    def mean_equal(self) -> float | None:
        """Mean of `ViewAgreement.equal`; None with one view."""
        found = [one.equal for one in self.views if one.equal is not None]
        return sum(found) / len(found) if found else None

    def to_metrics(self) -> dict[str, Any]:
        """Returns everything as plain values, for a JSON file."""
        return {
            "format": 1,
            "num_images": len(self.images),
            "num_instances": self.num_instances,
            "mean_confidence": self.mean_confidence,
            "mean_equal": self.mean_equal,
            **dataclasses.asdict(self),
        }


@dataclasses.dataclass(frozen=True)
class PseudoLabelReport:
    """What the page shows.

    Attributes:
        labels: The numbers.
        data: The same numbers, as the JSON file has them.
        samples: Images with their labels.
        colors: Name and (red, green, blue) in 0..255 of each color of the
            pictures.
    """

    labels: PseudoLabels
    data: Mapping[str, Any]
    samples: Sequence[SampleImage] = ()
    colors: Sequence[tuple[str, tuple[int, int, int]]] = ()
