# SPDX-License-Identifier: Apache-2.0
"""Which pixels keep their pseudo label: plain NumPy.

In reading order: `IgnoreMask` (what is never labelled), `Thresholds` (pixels
of low probability), `ClassHistogram` (thresholds for equal shares of classes),
`apply` (the label without them).
"""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.storage import image_files

# Width of a bin of -log(1 - p), in nats: within a bin, 1 - p differs by 0.2 %.
_BIN_WIDTH = 0.002
# Probabilities p are float32, where 1 - p is 0 or 2**-24 and more.
_MOST_NATS = 24 * np.log(2)
# Sides of masks that are scaled may differ by this share from the image's.
_LEAST_LIKENESS = 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class IgnoreMask:
    """Pixels that are never labelled, such as the own car.

    Attributes:
        ignored: bool [H, W].
        path: Where it was read.
    """

    ignored: npt.NDArray[np.bool_]
    path: str

    @classmethod
    def load(cls, path: str) -> Self:
        """Loads a mask: what is not 0 is ignored.

        Args:
            path: An image file, such as a PNG of 0 and 255.

        Raises:
            DataError: It cannot be read, or ignores all or nothing.
        """
        ignored = np.asarray(image_files.load_image(path).any(2), np.bool_)
        if ignored.all() or not ignored.any():
            what = "all pixels are" if ignored.all() else "no pixel is"
            raise errors.DataError(
                f"In --ignore_mask={path} {what} other than 0, so that it "
                f"ignores {'everything' if ignored.all() else 'nothing'}. "
                "Draw what is to be ignored in white on black."
            )
        return cls(ignored, path)

    def identify(self) -> str:
        """Returns a checksum of size and pixels."""
        text = f"{self.ignored.shape}".encode() + self.ignored.tobytes()
        return hashlib.sha256(text).hexdigest()

    def at_size(self, size: tuple[int, int]) -> npt.NDArray[np.bool_]:
        """Returns the mask at the size of an image: bool [H, W].

        Args:
            size: (height, width).

        Raises:
            DataError: The image has another ratio of the sides.
        """
        if self.ignored.shape == size:
            return self.ignored
        height, width = self.ignored.shape
        if abs(height * size[1] / (width * size[0]) - 1) > _LEAST_LIKENESS:
            raise errors.DataError(
                f"--ignore_mask={self.path} has {width} x {height} pixels, and "
                f"an image {size[1]} x {size[0]}, another ratio of the sides. "
                "Label images of one camera at a time, each with its mask."
            )
        picture = Image.fromarray(self.ignored)
        scaled = picture.resize((size[1], size[0]), Image.Resampling.NEAREST)
        return np.asarray(scaled)


@dataclasses.dataclass(frozen=True)
class Thresholds:
    """The least probability of pixels that keep their label.

    Attributes:
        of_class: Threshold of each class, in 0..1; 0 keeps all.
    """

    of_class: tuple[float, ...]

    def find_dropped(
        self,
        classes_hw: npt.NDArray[np.integer],
        confidence_hw: npt.NDArray[np.float32],
    ) -> npt.NDArray[np.bool_]:
        """Finds the pixels below the threshold of their class.

        Args:
            classes_hw: Integers [H, W], classes; others than those of the data
                set are never dropped.
            confidence_hw: float32 [H, W], probability of the class.

        Returns:
            bool [H, W].
        """
        limits = np.zeros(
            max(len(self.of_class), int(classes_hw.max(initial=0)) + 1),
            np.float32,
        )
        limits[: len(self.of_class)] = self.of_class
        return confidence_hw < limits[classes_hw]


def _make_bins() -> npt.NDArray[np.float32]:
    """Returns the lower ends of the bins, rising from 0 to 1."""
    nats = np.arange(0, _MOST_NATS, _BIN_WIDTH)
    ends = np.append(-np.expm1(-nats), 1.0)
    return np.unique(ends.astype(np.float32))


class ClassHistogram:
    """Counts of probabilities by class.

    Bins are of equal width in -log(1 - p), as sure models have most of their
    pixels close to 1.
    """

    def __init__(self, num_classes: int):
        """Starts with no pixel."""
        self._bins = _make_bins()
        self._counts = np.zeros((num_classes, len(self._bins)), np.int64)

    def add(
        self,
        classes_hw: npt.NDArray[np.integer],
        confidence_hw: npt.NDArray[np.float32],
    ) -> None:
        """Counts the pixels of an image; see `Thresholds.find_dropped`."""
        is_class = classes_hw < len(self._counts)
        bins = np.searchsorted(self._bins, confidence_hw[is_class], "right") - 1
        bins = np.maximum(bins, 0)
        index = classes_hw[is_class].astype(np.int64) * len(self._bins) + bins
        counts = np.bincount(index, minlength=self._counts.size)
        self._counts += counts.reshape(self._counts.shape)

    def find_thresholds(self, share: float) -> list[float]:
        """Finds the threshold of each class that keeps a share of its pixels.

        As class-balanced self-training (Zou et al., ECCV 2018) does: a rare
        class, of which the model is less sure, keeps as large a share as a
        frequent one. The share is kept at least, and more by what is in the
        bin of the threshold; pixels of the probability 1 are all kept or none.

        Args:
            share: Share of the pixels, in (0, 1].

        Returns:
            A threshold for each class; 0 for classes without a pixel.
        """
        found = []
        for counts in self._counts:
            total = int(counts.sum())
            # Pixels in a bin or a higher one.
            above = np.cumsum(counts[::-1])[::-1]
            enough = np.flatnonzero(above >= share * total)
            found.append(float(self._bins[enough[-1]]) if total else 0.0)
        return found


def combine(floor: float, of_class: Sequence[float]) -> Thresholds:
    """Returns thresholds that are nowhere below a floor."""
    return Thresholds(tuple(max(floor, one) for one in of_class))


def apply(
    panoptic_hw: npt.NDArray[np.int32],
    descriptor: DatasetDescriptor,
    *,
    mask: IgnoreMask | None = None,
    thresholds: Thresholds | None = None,
    confidence_hw: npt.NDArray[np.float32] | None = None,
) -> npt.NDArray[np.int32]:
    """Returns a label with void in place of what is not kept.

    Args:
        panoptic_hw: int32 [H, W], class * label_divisor + instance.
        descriptor: The data set.
        mask: Pixels that are never labelled.
        thresholds: Least probabilities; without effect when None.
        confidence_hw: float32 [H, W], probability of the class of each pixel,
            in [0, 1]; without it no threshold applies.
    """
    dropped = np.zeros(panoptic_hw.shape, np.bool_)
    if mask is not None:
        dropped |= mask.at_size((panoptic_hw.shape[0], panoptic_hw.shape[1]))
    if confidence_hw is not None and thresholds is not None:
        dropped |= thresholds.find_dropped(
            panoptic_hw // descriptor.label_divisor, confidence_hw
        )
    return np.where(dropped, descriptor.void_id, panoptic_hw).astype(np.int32)
