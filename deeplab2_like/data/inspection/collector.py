# SPDX-License-Identifier: Apache-2.0
"""Adds up the facts of images; about 50 bytes are kept of each image."""

import array
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from deeplab2_like.data.inspection.facts import ImageFacts
from deeplab2_like.labels.descriptor import DatasetDescriptor

# Sides of instances are counted from 1 to 2, 2 to 4, ... pixels.
NUM_SIDES = 16
# Images that are remembered for each class and split.
_HOLDERS = 3
# Sentences of a kind that are kept.
MAX_SENTENCES = 100
# What the number of instances is kept as where it is larger.
_MOST_KEPT = 2**32 - 1


class Sentences:
    """The first of many sentences.

    Attributes:
        first: The first ones.
        count: How many there were.
    """

    def __init__(self) -> None:
        """Begins without sentences."""
        self.first: list[str] = []
        self.count = 0

    def add(self, text: str) -> None:
        """Adds a sentence."""
        self.count += 1
        if len(self.first) < MAX_SENTENCES:
            self.first.append(text)


class Collector:
    """Counts of images and labels.

    Arrays with a place for each image are in the order in which they came.

    Attributes:
        splits: Names of the splits.
        num_images: Images by split.
        pixels: int64 [S, C], pixels by split and class.
        images: int64 [S, C], images in which each class occurs.
        instances: int64 [S, C], instances, crowds not counted.
        crowds: int64 [S, C], crowd segments.
        label_pixels: Pixels of labels by split.
        void_pixels: Those of them that have no class.
        sizes: Images by (height, width).
        instances_per_image: Images with a label by number of instances.
        sides: Instances by side of a square of their area: number i counts
            from 2**i to 2**(i + 1) pixels.
        most_of_class: Most instances of one class in an image.
        num_turned: Images whose file has an EXIF orientation.
        notes: Sentences about what is left out.
        has_labels: Whether any image has a label.
        holders: First images in which a class occurs, by (split, class).
    """

    def __init__(self, descriptor: DatasetDescriptor, splits: Sequence[str]):
        """Begins without images.

        Args:
            descriptor: The data set.
            splits: Names of the splits, that of training first.
        """
        self.descriptor = descriptor
        self.splits = tuple(splits)
        shape = (len(self.splits), descriptor.num_classes)
        self.num_images = [0] * len(self.splits)
        self.pixels = np.zeros(shape, np.int64)
        self.images = np.zeros(shape, np.int64)
        self.instances = np.zeros(shape, np.int64)
        self.crowds = np.zeros(shape, np.int64)
        self.label_pixels = [0] * len(self.splits)
        self.void_pixels = [0] * len(self.splits)
        self.sizes: Counter[tuple[int, int]] = Counter()
        self.instances_per_image: Counter[int] = Counter()
        self.sides = np.zeros(NUM_SIDES, np.int64)
        self.most_of_class = 0
        self.num_turned = 0
        self.notes = Sentences()
        self.has_labels = False
        self.holders: dict[tuple[int, int], list[int]] = {}
        self._names: list[str] = []
        self._keys = array.array("q")
        self._split = array.array("B")
        self._digest = array.array("Q")
        self._label_digest = array.array("Q")
        self._hash = array.array("Q")
        self._has_hash = array.array("B")
        self._is_uniform = array.array("B")
        self._void = array.array("f")
        self._instances = array.array("I")

    def add(self, name: str, split: int, key: int, facts: ImageFacts) -> None:
        """Adds an image.

        Args:
            name: Its name.
            split: Number of its split.
            key: Number by which the caller finds the image again.
            facts: What it contains.
        """
        self._names.append(name)
        self._keys.append(key)
        self._split.append(split)
        self._digest.append(facts.digest)
        self._label_digest.append(facts.label_digest)
        self._hash.append(facts.difference_hash or 0)
        self._has_hash.append(facts.difference_hash is not None)
        self._is_uniform.append(facts.is_uniform)
        self.num_images[split] += 1
        self.sizes[facts.size] += 1
        self.num_turned += facts.is_turned
        if facts.note:
            self.notes.add(facts.note)
        void, instances = 0.0, 0
        if facts.classes is not None:
            void, instances = self._add_label(split, facts)
        self._void.append(void)
        self._instances.append(min(instances, _MOST_KEPT))

    def _add_label(self, split: int, facts: ImageFacts) -> tuple[float, int]:
        """Counts a label; returns its share of void and its instances."""
        data = self.descriptor
        classes, areas = facts.classes, facts.areas
        if classes is None or areas is None or facts.instances is None:
            raise ValueError("There is no label.")
        self.has_labels = True
        is_void = classes == data.ignore_label
        is_thing = np.isin(classes, data.thing_ids)
        is_instance = is_thing & (facts.instances > 0)
        labeled = classes[~is_void]
        np.add.at(self.pixels[split], labeled, areas[~is_void])
        present = np.unique(labeled)
        self.images[split][present] += 1
        for index in present.tolist():
            holders = self.holders.setdefault((split, index), [])
            if len(holders) < _HOLDERS:
                holders.append(len(self._names) - 1)
        counts = np.bincount(classes[is_instance], minlength=data.num_classes)
        self.instances[split] += counts
        self.most_of_class = max(self.most_of_class, int(counts.max()))
        np.add.at(self.crowds[split], classes[is_thing & ~is_instance], 1)
        sides = np.log2(np.maximum(areas[is_instance], 1)) / 2
        self.sides += np.bincount(
            np.minimum(sides.astype(int), NUM_SIDES - 1), minlength=NUM_SIDES
        )
        total, void = int(areas.sum()), int(areas[is_void].sum())
        self.label_pixels[split] += total
        self.void_pixels[split] += void
        instances = int(is_instance.sum())
        self.instances_per_image[instances] += 1
        return void / total if total else 0.0, instances

    @property
    def names(self) -> Sequence[str]:
        """Name of each image."""
        return self._names

    @property
    def keys(self) -> npt.NDArray[np.int64]:
        """Number by which the caller finds each image: int64 [N]."""
        return np.array(self._keys, np.int64)

    @property
    def image_splits(self) -> npt.NDArray[np.uint8]:
        """Number of the split of each image: uint8 [N]."""
        return np.array(self._split, np.uint8)

    @property
    def digests(self) -> npt.NDArray[np.uint64]:
        """Checksum of each image: uint64 [N]."""
        return np.array(self._digest, np.uint64)

    @property
    def label_digests(self) -> npt.NDArray[np.uint64]:
        """Checksum of the label of each image: uint64 [N]."""
        return np.array(self._label_digest, np.uint64)

    @property
    def hashes(self) -> npt.NDArray[np.uint64]:
        """Difference hash of each image: uint64 [N]."""
        return np.array(self._hash, np.uint64)

    @property
    def is_hashed(self) -> npt.NDArray[np.bool_]:
        """Whether each image has a difference hash: bool [N]."""
        return np.array(self._has_hash, bool)

    @property
    def is_uniform(self) -> npt.NDArray[np.bool_]:
        """Whether all pixels of each image have one color: bool [N]."""
        return np.array(self._is_uniform, bool)

    @property
    def void_shares(self) -> npt.NDArray[np.float64]:
        """Share of void in the label of each image: float64 [N]."""
        return np.array(self._void, np.float64)

    @property
    def instance_counts(self) -> npt.NDArray[np.int64]:
        """Instances of each image: int64 [N]."""
        return np.array(self._instances, np.int64)
