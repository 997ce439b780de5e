# SPDX-License-Identifier: Apache-2.0
"""The requests of the warm-up: each signature on each size of canvas."""

from collections.abc import Iterator, Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.exports import signatures, warmup
from deeplab2_like.inference import buckets
from deeplab2_like.inference import canvas as canvas_lib

# Parts of the canvas that images of the warm-up may fill.
_PARTS = (1.0, 0.97, 0.9, 0.8, 0.65, 0.5)


def choose_sizes(
    preprocessings: Sequence[preprocessing_lib.Preprocessing],
    typical_size: tuple[int, int],
) -> list[list[int]]:
    """Chooses the sizes of images that use each size of canvas.

    Args:
        preprocessings: Options of preprocessing for each size of canvas.
        typical_size: Size of an image where there is one canvas.

    Returns:
        [height, width] for each canvas; those that no image uses, because the
        config makes all images smaller, are left out.
    """
    if len(preprocessings) == 1:
        return [list(typical_size)]
    found = []
    for index, options in enumerate(preprocessings):
        canvas = canvas_lib.static_size(options)
        assert canvas is not None  # One of several sizes.
        for part in _PARTS:
            scale = part / options.input_scale_factor
            size = [max(1, int(side * scale)) for side in canvas]
            chosen = buckets.choose(tf.constant(size), preprocessings)
            if int(chosen) == index:
                found.append(size)
                break
    return found


def make(
    names: Sequence[str],
    sizes: Sequence[Sequence[int]],
    batch_sizes: Sequence[int],
) -> Iterator[bytes]:
    """Makes the requests.

    Args:
        names: Names of the signatures.
        sizes: Height and width of the images, one for each size of canvas.
        batch_sizes: Numbers of files of the requests of signatures with
            independent rows, which servers put together.

    Yields:
        Results of `warmup.encode_request`.
    """
    for height, width in sizes:
        image = np.zeros((1, height, width, 3), np.uint8)
        encoded = tf.io.encode_jpeg(image[0]).numpy()
        for name in names:
            if signatures.base_of(name) == signatures.IMAGES:
                yield warmup.encode_request(name, {"images": image})
                continue
            is_batched = signatures.has_independent_rows(name)
            for count in batch_sizes if is_batched else [1]:
                files = {"image_bytes": [encoded] * count}
                yield warmup.encode_request(name, files)
