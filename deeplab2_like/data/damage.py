# SPDX-License-Identifier: Apache-2.0
"""Counts damaged training data that are left out, and reports them."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like.data import sources
from deeplab2_like.data.records import files as record_files

_MAX_NAMED = 5


class DamageReport:
    """A count of the images that training leaves out; threads may share it.

    The first image is reported at once, all of them by `summary`.
    """

    def __init__(self, log: Callable[[str], None]):
        """Begins with no damage.

        Args:
            log: Function that is called with each sentence to show.
        """
        self._log = log
        self._lock = threading.Lock()
        self._images: Counter[str] = Counter()

    def add_image(self, name: str) -> None:
        """Counts an image or label that could not be decoded."""
        with self._lock:
            self._images[name] += 1
            is_first = self._images.total() == 1
        if is_first:
            self._log(
                f"Image {name!r} or its label is damaged and cannot be decoded:"
                " it is left out (on_damage: SKIP), and so are others like it,"
                " which are counted."
            )

    def add_file(self, problem: str) -> None:
        """Reports a damaged record file, whose problem is a sentence."""
        self._log(f"{problem}: what follows is left out (on_damage: SKIP).")

    def add_damaged_files(self, paths: Sequence[str]) -> None:
        """Reports those of some record files that are damaged."""
        for file in record_files.scan_files(paths, on_damage="skip"):
            if file.problem:
                self.add_file(file.problem)

    def summary(self) -> str:
        """Returns a sentence about all images left out; "" if none."""
        with self._lock:
            if not self._images:
                return ""
            names = sorted(self._images)
            times = self._images.total()
        shown = ", ".join(map(repr, names[:_MAX_NAMED]))
        if len(names) > _MAX_NAMED:
            shown += f" and {len(names) - _MAX_NAMED} more"
        return (
            f"{len(names)} damaged image(s) were left out of training, {times}"
            f" time(s): {shown}. Write their records again."
        )


def make_load(
    decode: Callable[[tf.Tensor], dict[str, tf.Tensor]], damage: DamageReport
) -> sources.Load:
    """Makes the function that decodes a record and reports a damaged one.

    Args:
        decode: Function that decodes a record, to no image if it is damaged.
        damage: The report.
    """

    def report(name: bytes) -> np.ndarray:
        damage.add_image(name.decode("utf-8", "replace"))
        return np.array(False)

    def load(record: tf.Tensor) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        example = decode(record)
        is_good = tf.cond(
            tf.size(example["image"]) > 0,
            lambda: tf.constant(True),
            lambda: tf.ensure_shape(
                tf.numpy_function(report, [example["name"]], tf.bool), []
            ),
        )
        return is_good, example

    return load
