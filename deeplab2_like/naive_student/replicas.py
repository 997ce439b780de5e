# SPDX-License-Identifier: Apache-2.0
"""Labels images on all devices, each of which has a copy of the model."""

import queue
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.naive_student.labelling_model import Labeller, Labels


def list_devices() -> list[str]:
    """Lists the names of the GPUs; without any, of the processor.

    TensorFlow must be set up: it initializes the devices.
    """
    devices = tf.config.list_logical_devices("GPU")
    devices = devices or tf.config.list_logical_devices("CPU")
    return [device.name for device in devices]


class ReplicatedLabeller(Labeller):
    """Copies of a model that label an image each at a time.

    Labels do not depend on the device, but for the rounding of its kernels.
    """

    def __init__(self, make: Callable[[], Labeller], devices: Sequence[str]):
        """Makes a copy on each device.

        Args:
            make: Function that loads the model; called for each device.
            devices: Names of the devices, at least one.
        """
        self._copies: list[Labeller] = []
        self._free: queue.SimpleQueue[tuple[str, Labeller]]
        self._free = queue.SimpleQueue()
        for device in devices:
            with tf.device(device):
                copy = make()
            self._copies.append(copy)
            self._free.put((device, copy))
        first = self._copies[0]
        self.descriptor = first.descriptor
        self.views = first.views
        self.has_confidence = first.has_confidence
        self.num_replicas = len(devices)

    @property
    def seconds(self) -> float:
        """Mean time for an image while all devices have work."""
        times = [copy.seconds for copy in self._copies if copy.seconds]
        return sum(times) / len(times) / self.num_replicas if times else 0.0

    def label(self, pixels_hw3: npt.NDArray[np.uint8]) -> Labels:
        """Labels an image on a device that is free; waits for one."""
        device, copy = self._free.get()
        try:
            with tf.device(device):
                return copy.label(pixels_hw3)
        finally:
            self._free.put((device, copy))


def load(make: Callable[[], Labeller]) -> Labeller:
    """Loads a model onto all devices.

    Args:
        make: Function that loads the model onto the current device.
    """
    devices = list_devices()
    return make() if len(devices) == 1 else ReplicatedLabeller(make, devices)
