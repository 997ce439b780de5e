# SPDX-License-Identifier: Apache-2.0
"""Base of the metrics that are computed from counts of label maps."""

import abc
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.metrics import overlaps


class ImageCounts(abc.ABC):
    """Counts that add up over images and processes, and the number of images.

    Subclasses define what is counted, and what follows from the counts.
    """

    def __init__(self, counts: npt.NDArray[Any]):
        """Creates an accumulator without images.

        Args:
            counts: Zeros.
        """
        self._counts = counts
        self._num_images = 0

    def update(
        self, true: Any, predicted: Any, names: Sequence[str] | None = None
    ) -> None:
        """Adds images.

        Args:
            true: Integers [H, W] or [B, H, W], true value of each pixel.
            predicted: Integers of the same dimensions, predicted values.
            names: Name of each image, for error messages.

        Raises:
            DataError: The maps are not integers of equal dimensions, or a
                class is neither in 0..C-1 nor `ignore_label`. Images of the
                batch before that one have been added.
        """
        for name, true_hw, predicted_hw in overlaps.iterate_images(
            true, predicted, names
        ):
            found = overlaps.compute_overlaps(true_hw, predicted_hw)
            self._add_image(name, found)
            self._num_images += 1

    def update_overlaps(self, name: str, found: overlaps.Overlaps) -> None:
        """Adds an image whose overlaps were counted elsewhere, as in bands.

        Args:
            name: Name of the image, for error messages.
            found: The pixels that the values of both maps share.

        Raises:
            DataError: See `update`.
        """
        self._add_image(name, found)
        self._num_images += 1

    @abc.abstractmethod
    def _add_image(self, name: str, found: overlaps.Overlaps) -> None:
        """Adds the overlaps in one image to the counts."""

    def state(self) -> npt.NDArray[Any]:
        """Returns all N counts and the number of images, [N + 1].

        The sum of the states of several processes, given to `load_state`, is
        their merged state.
        """
        return np.append(self._counts.ravel(), self._num_images)

    def load_state(self, state: npt.NDArray[Any]) -> None:
        """Replaces the state by a result of `state`, or by a sum of those."""
        state = np.asarray(state).astype(self._counts.dtype)
        self._counts = state[:-1].reshape(self._counts.shape).copy()
        self._num_images = int(state[-1])
