# SPDX-License-Identifier: Apache-2.0
"""The kind of device that functions are traced for.

On processors, tiles that fit the caches and tiles that are skipped save time.
On accelerators each of the many small steps costs more time than it saves.
Both ways compute the same numbers.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

_IS_ACCELERATOR: contextvars.ContextVar[bool | None] = contextvars.ContextVar(
    "is_accelerator", default=None
)


def is_accelerator() -> bool:
    """Returns whether functions that are traced now are for a GPU or a TPU.

    The default is whether TensorFlow has such a device; see `building_for`.
    """
    known = _IS_ACCELERATOR.get()
    if known is not None:
        return known
    devices = tf.config.list_logical_devices()
    return any(x.device_type in ("GPU", "TPU") for x in devices)


@contextlib.contextmanager
def building_for(accelerator: bool) -> Iterator[None]:
    """Sets the kind of device for functions that are traced inside a block.

    Args:
        accelerator: Whether the device is a GPU or a TPU.
    """
    token = _IS_ACCELERATOR.set(accelerator)
    try:
        yield
    finally:
        _IS_ACCELERATOR.reset(token)
