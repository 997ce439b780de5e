# SPDX-License-Identifier: Apache-2.0
"""Loads images of any source in threads, in order. No TensorFlow here."""

import concurrent.futures
from collections.abc import Callable, Iterator, Sequence
from typing import TypeAlias

from deeplab2_like import errors
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.storage import in_order

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

    with concurrent.futures.ThreadPoolExecutor(num_threads) as executor:
        yield from in_order.call(executor, load, loaders, 2 * num_threads)
