# SPDX-License-Identifier: Apache-2.0
"""What is known of each pseudo label; kept while records are written.

In reading order: `ImageFacts`, `measure`, `Journal`, `Totals`.
"""

import contextlib
import dataclasses
import json
import pathlib
import threading
from collections import Counter
from collections.abc import Iterable
from typing import IO, Any, Self

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels import label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.naive_student.labeller import Labels
from deeplab2_like.storage import json_files


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """A pseudo label in numbers.

    Attributes:
        name: Name of the image.
        size: (height, width).
        pixels: Pixels by class, of those that keep their label.
        instances: Instances by class.
        void: Pixels without a label.
        confidence: Sums of probabilities by class; {} where the model does
            not say.
        equal: For each view the share of the pixels whose most probable class
            is that of the average of the views; () with one view.
        intersections: Pixels by class where a view and the average agree, over
            all views.
        unions: Pixels by class where one of them has it.
    """

    name: str
    size: tuple[int, int]
    pixels: dict[int, int]
    instances: dict[int, int]
    void: int
    confidence: dict[int, float]
    equal: tuple[float, ...] = ()
    intersections: dict[int, int] = dataclasses.field(default_factory=dict)
    unions: dict[int, int] = dataclasses.field(default_factory=dict)

    @property
    def mean_confidence(self) -> float | None:
        """Mean probability of the labels; None where it is not known."""
        if not self.confidence or not sum(self.pixels.values()):
            return None
        return sum(self.confidence.values()) / sum(self.pixels.values())

    @property
    def mean_equal(self) -> float | None:
        """Mean of `equal`; None with one view."""
        return sum(self.equal) / len(self.equal) if self.equal else None

    @classmethod
    def from_plain(cls, values: dict[str, Any]) -> Self:
        """Reads what `json_files.to_plain` made of facts."""
        numbers = {
            key: {int(k): v for k, v in values[key].items()}
            for key in (
                "pixels",
                "instances",
                "confidence",
                "intersections",
                "unions",
            )
        }
        return cls(
            name=str(values["name"]),
            size=(int(values["size"][0]), int(values["size"][1])),
            void=int(values["void"]),
            equal=tuple(values["equal"]),
            **numbers,
        )


def measure(
    name: str,
    panoptic_hw: npt.NDArray[np.int32],
    labels: Labels,
    descriptor: DatasetDescriptor,
) -> ImageFacts:
    """Measures a pseudo label.

    Args:
        name: Name of the image.
        panoptic_hw: int32 [H, W], the label, after the selection of pixels.
        labels: The prediction.
        descriptor: The data set.
    """
    classes_hw = panoptic_hw // descriptor.label_divisor
    found = label_map.compute_segments(panoptic_hw)
    classes, instances = np.divmod(found.ids, descriptor.label_divisor)
    pixels: Counter[int] = Counter()
    for index, area in zip(classes.tolist(), found.areas.tolist(), strict=True):
        pixels[index] += area
    void = pixels.pop(descriptor.ignore_label, 0)
    numbered = classes[(instances > 0) & (classes != descriptor.ignore_label)]
    confidence: dict[int, float] = {}
    if labels.confidence is not None:
        sums = np.bincount(
            classes_hw.reshape(-1), labels.confidence.reshape(-1)
        )
        confidence = {index: float(sums[index]) for index in pixels}
    equal: list[float] = []
    inter: Counter[int] = Counter()
    union: Counter[int] = Counter()
    if labels.classes is not None and labels.view_classes is not None:
        count = descriptor.num_classes
        merged = np.bincount(labels.classes.reshape(-1), minlength=count)
        for view in labels.view_classes:
            is_equal = view == labels.classes
            equal.append(float(is_equal.mean()))
            own = np.bincount(view.reshape(-1), minlength=count)
            both = np.bincount(view[is_equal], minlength=count)
            inter.update(_to_counts(both))
            union.update(_to_counts(own + merged - both))
    return ImageFacts(
        name=name,
        size=(panoptic_hw.shape[0], panoptic_hw.shape[1]),
        pixels=dict(sorted(pixels.items())),
        instances=dict(sorted(Counter(numbered.tolist()).items())),
        void=void,
        confidence=confidence,
        equal=tuple(equal),
        intersections=dict(sorted(inter.items())),
        unions=dict(sorted(union.items())),
    )


def _to_counts(counts: npt.NDArray[np.integer]) -> dict[int, int]:
    return {int(i): int(counts[i]) for i in np.flatnonzero(counts)}


class Journal:
    """A file with a line for each image; a line that was cut off is ignored.

    It is written before the record of the image, so that the facts of every
    record that is complete are there after a kill.
    """

    def __init__(self, path: pathlib.Path, settings: str):
        """Reads what an earlier call wrote.

        Args:
            path: Path of the file.
            settings: Text of what the facts depend on besides the image;
                lines of other settings are ignored.
        """
        self._path = path
        self._settings = settings
        self._lock = threading.Lock()
        self._file: IO[bytes] | None = None
        self._facts: dict[str, ImageFacts] = {}
        if path.exists():
            for line in path.read_bytes().splitlines():
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    values = json.loads(line)
                    if values["settings"] == settings:
                        facts = ImageFacts.from_plain(values["facts"])
                        self._facts[facts.name] = facts

    def add(self, facts: ImageFacts) -> None:
        """Adds an image; threads may call it."""
        entry = {
            "settings": self._settings,
            "facts": dataclasses.asdict(facts),
        }
        with self._lock:
            if self._file is None:
                self._file = open(self._path, "ab")  # noqa: SIM115
            # After a kill the last line may have no end.
            self._file.write(b"\n" + json_files.to_line(entry).encode() + b"\n")
            self._file.flush()
            self._facts[facts.name] = facts

    def find(self, name: str) -> ImageFacts | None:
        """Returns the facts of an image, if they are known."""
        return self._facts.get(name)

    def remove(self) -> None:
        """Closes and deletes the file."""
        self.close()
        self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
            self._file = None


@dataclasses.dataclass
class Totals:
    """Sums over all images; the attributes are those of `ImageFacts`."""

    pixels: Counter[int] = dataclasses.field(default_factory=Counter)
    images: Counter[int] = dataclasses.field(default_factory=Counter)
    instances: Counter[int] = dataclasses.field(default_factory=Counter)
    confidence: Counter[int] = dataclasses.field(default_factory=Counter)
    intersections: Counter[int] = dataclasses.field(default_factory=Counter)
    unions: Counter[int] = dataclasses.field(default_factory=Counter)
    void: int = 0

    @classmethod
    def add_up(cls, images: Iterable[ImageFacts]) -> Self:
        """Returns the sums of images."""
        total = cls()
        for one in images:
            total.void += one.void
            total.images.update(one.pixels.keys())
            for name in (
                "pixels",
                "instances",
                "confidence",
                "intersections",
                "unions",
            ):
                getattr(total, name).update(getattr(one, name))
        return total

    @property
    def void_share(self) -> float:
        """Share of the pixels without a label."""
        total = self.void + sum(self.pixels.values())
        return self.void / total if total else 0.0

    def iou(self, index: int) -> float | None:
        """Returns the IoU of views and average for a class; None without."""
        union = self.unions[index]
        return self.intersections[index] / union if union else None

    @property
    def mean_iou(self) -> float | None:
        """Mean of `iou` over the classes that occur; None with one view."""
        found = [one for one in map(self.iou, self.unions) if one is not None]
        return sum(found) / len(found) if found else None
