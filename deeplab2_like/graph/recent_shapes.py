# SPDX-License-Identifier: Apache-2.0
"""Functions that are traced for the shapes of their last calls only."""

import functools
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import tensorflow as tf

T = TypeVar("T")

_KEPT = 8


def trace(function: Callable[..., T]) -> Callable[..., T]:
    """Returns a function that is traced for each shape of its arguments.

    A `tf.function` keeps the graph of every shape that it has seen, and warns
    of them: in a folder of images of all sizes the memory would grow with the
    images. Here the graphs of the 8 latest shapes are kept.

    Args:
        function: Function of tensors and of values that can be hashed, by
            position. It must not create variables.
    """

    @functools.lru_cache(_KEPT)
    def make(key: Hashable) -> Callable[..., T]:
        del key
        # TensorFlow counts the traces of a function's code, not those of a
        # partial.
        again = functools.partial(function)
        traced: Callable[..., T] = tf.function(again, autograph=False)
        return traced

    @functools.wraps(function)
    def call(*arguments: Any) -> T:
        return make(tuple(map(_describe, arguments)))(*arguments)

    return call


def _describe(argument: Any) -> Hashable:
    if isinstance(argument, tf.Tensor):
        return tuple(argument.shape), argument.dtype
    value: Hashable = argument
    return value
