# SPDX-License-Identifier: Apache-2.0
"""What labels images, and its labels."""

import abc
import dataclasses
import threading
import time

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.model import multi_scale


@dataclasses.dataclass(frozen=True, eq=False)
class Labels:
    """The prediction for an image, at its size.

    Attributes:
        panoptic: int32 [H, W], class * label_divisor + instance, or void.
        confidence: float32 [H, W] in 0..1, the probability of the class of
            each pixel, 0 where it is void; for objects with masks their
            score. None where the model does not say.
        classes: int32 [H, W], most probable class of the average of the
            views; None with one view.
        view_classes: int32 [V, H, W], the same of each view.
    """

    panoptic: npt.NDArray[np.int32]
    confidence: npt.NDArray[np.float32] | None = None
    classes: npt.NDArray[np.int32] | None = None
    view_classes: npt.NDArray[np.int32] | None = None


class Labeller(abc.ABC):
    """A model that labels images of any size; threads may share it.

    Attributes:
        descriptor: The data set of the model.
        views: The views of an image that are averaged.
        has_confidence: Whether `Labels.confidence` is there.
        num_replicas: Images that are labelled at once.
    """

    descriptor: DatasetDescriptor
    views: tuple[multi_scale.View, ...]
    has_confidence: bool
    num_replicas: int = 1

    @property
    @abc.abstractmethod
    def seconds(self) -> float:
        """Mean time for an image while there is work; 0 where not known."""

    @abc.abstractmethod
    def label(self, pixels_hw3: npt.NDArray[np.uint8]) -> Labels:
        """Labels an image.

        Args:
            pixels_hw3: uint8 [H, W, 3], RGB.

        Raises:
            DataError: The memory does not suffice for it.
        """


class SerialLabeller(Labeller):
    """A model that labels one image at a time."""

    def __init__(self) -> None:
        """Makes the lock: threads that decode images share the model."""
        self._lock = threading.Lock()
        self._num_calls = 0
        self._seconds = 0.0

    @property
    def seconds(self) -> float:
        """Mean time of the model for an image; 0 before the second image.

        The first image, for which functions are traced, does not count.
        """
        return self._seconds / max(1, self._num_calls - 1)

    def label(self, pixels_hw3: npt.NDArray[np.uint8]) -> Labels:
        """Labels an image; see `Labeller`."""
        try:
            with self._lock:
                start = time.monotonic()
                labels = self._label(pixels_hw3)
                if self._num_calls:
                    self._seconds += time.monotonic() - start
                self._num_calls += 1
                return labels
        except tf.errors.ResourceExhaustedError as error:
            raise errors.DataError(
                "The memory does not suffice for an image of "
                f"{pixels_hw3.shape[1]} x {pixels_hw3.shape[0]} pixels: reduce "
                "it."
            ) from error

    @abc.abstractmethod
    def _label(self, pixels_hw3: npt.NDArray[np.uint8]) -> Labels:
        """Labels an image; see `label`."""
