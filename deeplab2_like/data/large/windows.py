# SPDX-License-Identifier: Apache-2.0
"""Windows of large images as training examples, without pre-cut tiles.

Example n of a training is a function of (seed, n): which image it is of, each
in proportion to its pixels, and where its window lies, each place alike.
"""

import collections
import math
import threading
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import preprocessing, sources
from deeplab2_like.data.large import lists
from deeplab2_like.data.large.examples import LargeExample
from deeplab2_like.graph import checks
from deeplab2_like.labels.descriptor import DatasetDescriptor

# Images that are open at once, and bytes of decoded chunks of each.
_OPEN_IMAGES = 32
_CACHE_BYTES = 1 << 24
# Windows that are drawn until one has a label, as only parts of large images
# may have labels.
_MAX_TRIES = 32


def compute_window(options: preprocessing.Preprocessing) -> tuple[int, int]:
    """Computes the (height, width) of windows, in pixels of the image.

    A window has the pixels of a crop at the smallest scale and the largest
    angle.

    Args:
        options: Options of preprocessing.
    """
    angle = 0.0
    if options.rotation.probability > 0:
        angle = math.radians(options.rotation.max_degrees)
    height, width = options.crop_size
    sine, cosine = math.sin(angle), math.cos(angle)
    scale = min(options.min_scale, 1.0)
    sides = (height * cosine + width * sine, height * sine + width * cosine)
    return math.ceil(sides[0] / scale), math.ceil(sides[1] / scale)


class LargeWindows:
    """The images of lists, of which windows are drawn; threads may share it."""

    def __init__(
        self,
        entries: Sequence[lists.LargeEntry],
        descriptor: DatasetDescriptor,
        window: tuple[int, int],
        log: Callable[[str], None],
    ):
        """Opens each image once, so that what is wrong is found early.

        Args:
            entries: The images, at least one.
            descriptor: The data set of the labels.
            window: (height, width) of windows; of an image that is smaller,
                all of it is one.
            log: Function that is called with a sentence about each damaged
                part, and about ranges of values.

        Raises:
            DataError: An image or label map cannot be used.
            InstallError: A package that reads them is not installed.
        """
        self._entries = list(entries)
        self._descriptor, self._log = descriptor, log
        self._window = window
        self._lock = threading.Lock()
        self._open: collections.OrderedDict[int, LargeExample] = (
            collections.OrderedDict()
        )
        self._ranges: dict[int, tuple[float, float] | None] = {}
        self._said: set[str] = set()
        sizes = []
        for entry in self._entries:
            example = LargeExample(entry, descriptor, cache_bytes=0)
            sizes.append((example.height, example.width))
            example.close()
        self._sizes = sizes
        self._ends = np.cumsum([height * width for height, width in sizes])

    def read(
        self, seed: int, number: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], str]:
        """Reads the window of an example.

        Where it has no label, another one is drawn, up to 32 times.

        Args:
            seed: Seed of the training.
            number: Number of the example.

        Returns:
            image, uint8 [h, w, 3]; panoptic, int32 [h, w]; and a name, the
            path of the image with top and left.

        Raises:
            DataError: A label map has labels that are not allowed.
        """
        random = np.random.default_rng([seed, number])
        window = self._window
        for _ in range(_MAX_TRIES):
            index = int(
                np.searchsorted(
                    self._ends,
                    random.integers(self._ends[-1]),
                    side="right",
                )
            )
            height, width = self._sizes[index]
            top = int(random.integers(max(height - window[0], 0) + 1))
            left = int(random.integers(max(width - window[1], 0) + 1))
            example = self._find(index)
            found = example.read(
                top,
                left,
                min(top + window[0], height),
                min(left + window[1], width),
            )
            self._report(example)
            if (found.panoptic != self._descriptor.void_id).any():
                break
        name = f"{self._entries[index].image}@{top},{left}"
        return found.image, found.panoptic, name

    def _find(self, index: int) -> LargeExample:
        """Returns an open image; of many, those that were used last are."""
        with self._lock:
            if index in self._open:
                self._open.move_to_end(index)
                return self._open[index]
            example = LargeExample(
                self._entries[index],
                self._descriptor,
                cache_bytes=_CACHE_BYTES,
                log=self._log,
            )
            if index in self._ranges:
                example.image.set_range(self._ranges[index])
            else:
                self._ranges[index] = example.image.value_range
            self._open[index] = example
            if len(self._open) > _OPEN_IMAGES:
                # Other threads may read it still: it is closed with its last
                # reference.
                self._open.popitem(last=False)
            return example

    def _report(self, example: LargeExample) -> None:
        for problem in example.problems:
            if problem not in self._said:
                self._said.add(problem)
                self._log(f"{problem} Its pixels are void.")

    def make_source(
        self,
        share: sources.Share,
        *,
        seed: int,
        start_step: int,
        has_next: bool,
        num_parallel_calls: int,
    ) -> tf.data.Dataset:
        """Makes the endless data set of (example, number).

        Args:
            share: Share of this pipeline.
            seed: Seed of the training, below 2**31.
            start_step: The first step, from 0.
            has_next: See `sources.make_indexed_source`.
            num_parallel_calls: Windows that are read at once.

        Returns:
            Examples {"image": uint8 [h, w, 3], "panoptic": int32 [h, w],
            "name": string []}.
        """

        def load(
            number: np.int64,
        ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32], bytes, bytes]:
            try:
                image, panoptic, name = self.read(seed, int(number))
            except errors.UserError as error:
                nothing = np.zeros([0, 0], np.int32)
                return (
                    np.zeros([0, 0, 3], np.uint8),
                    nothing,
                    b"",
                    str(error).encode(),
                )
            return image, panoptic, name.encode(), b""

        @tf.autograph.experimental.do_not_convert
        def read(number: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            image, panoptic, name, problem = tf.numpy_function(
                load,
                [number],
                (tf.uint8, tf.int32, tf.string, tf.string),
            )
            is_good = checks.check(
                tf.strings.length(problem) == 0,
                lambda: checks.sentence(tf.ensure_shape(problem, [])),
            )
            with checks.after(is_good):
                image = tf.ensure_shape(image, [None, None, 3])
            return {
                "image": image,
                "panoptic": tf.ensure_shape(panoptic, [None, None]),
                "name": tf.ensure_shape(name, []),
            }, number

        numbers = sources.list_numbers(share, start_step, has_next=has_next)
        return numbers.map(
            read, num_parallel_calls=num_parallel_calls, deterministic=True
        )
