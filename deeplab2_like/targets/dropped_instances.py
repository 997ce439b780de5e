# SPDX-License-Identifier: Apache-2.0
"""One warning per run about images with more instances than slots."""

import threading

import numpy as np
import tensorflow as tf
from absl import logging


class DroppedInstancesNotice:
    """Warns about the first image that has too many instances."""

    def __init__(self, max_instances: int):
        """Creates a notice that was not given yet.

        Args:
            max_instances: Number of slots, for the text.
        """
        self._max_instances = max_instances
        self._lock = threading.Lock()
        self.was_given = False

    def watch(self, num_dropped: tf.Tensor) -> tf.Tensor:
        """Warns, on the host, if it is the first number that is not 0.

        Args:
            num_dropped: int32 scalar, instances of an image without a slot.

        Returns:
            `num_dropped`; ops that depend on it run after the notice.
        """

        def give() -> tf.Tensor:
            (seen,) = tf.numpy_function(
                self._give, [num_dropped], [tf.int32], stateful=True
            )
            return tf.ensure_shape(seen, [])

        return tf.cond(num_dropped > 0, give, lambda: num_dropped)

    def _give(self, num_dropped: np.ndarray) -> np.ndarray:
        with self._lock:
            if not self.was_given:
                self.was_given = True
                limit = self._max_instances
                logging.warning(
                    "An image has %d instances, but training learns from %d "
                    "of an image: the largest are kept, here and in other "
                    "images. Raise max_instances to learn from all.",
                    limit + int(num_dropped),
                    limit,
                )
        return np.asarray(num_dropped, np.int32)
