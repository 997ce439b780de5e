# SPDX-License-Identifier: Apache-2.0
"""Loads images of any source in threads, in order. No TensorFlow here."""

import collections
import concurrent.futures
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from deeplab2_like import errors
from deeplab2_like.data.coco import samples as coco_samples

LoadSample: TypeAlias = Callable[[], coco_samples.Sample]


def load_in_order(
    loaders: Sequence[LoadSample], num_threads: int = 2
) -> Iterator[coco_samples.Sample | errors.DataError]:
    """Loads images in order, some ahead of their use.

    Args:
        loaders: Function that loads each image.
        num_threads: Images that are read at once.

    Yields:
        Each image, or the error why it cannot be used.
    """

    def load(loader: LoadSample) -> coco_samples.Sample | errors.DataError:
        try:
            return loader()
        except errors.DataError as error:
            return error

    waiting: collections.deque[concurrent.futures.Future] = collections.deque()
    with concurrent.futures.ThreadPoolExecutor(num_threads) as executor:
        for loader in loaders:
            waiting.append(executor.submit(load, loader))
            if len(waiting) > 2 * num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
