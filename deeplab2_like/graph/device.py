# SPDX-License-Identifier: Apache-2.0
"""What kind of device functions are built for.

Processors gain from working on tiles that fit their caches, and from leaving
tiles out. Accelerators lose by it: each of the many small steps costs them
more than it does. Both ways give the same numbers.
"""

import contextlib
import contextvars
from collections.abc import Iterator

import tensorflow as tf

_IS_ACCELERATOR: contextvars.ContextVar[bool | None] = contextvars.ContextVar(
    "is_accelerator", default=None
)


def is_accelerator() -> bool:
    """Whether functions that are traced now are for a GPU or a TPU.

    So it is where TensorFlow has such a device, unless `building_for` says
    otherwise.
    """
    known = _IS_ACCELERATOR.get()
    if known is not None:
        return known
    devices = tf.config.list_logical_devices()
    return any(x.device_type in ("GPU", "TPU") for x in devices)


@contextlib.contextmanager
def building_for(accelerator: bool) -> Iterator[None]:
    """Says what functions that are traced inside are for.

    Args:
        accelerator: Whether for a GPU or a TPU.
    """
    token = _IS_ACCELERATOR.set(accelerator)
    try:
        yield
    finally:
        _IS_ACCELERATOR.reset(token)
