# SPDX-License-Identifier: Apache-2.0
"""Measures limits of the machine: memory bandwidth and matrix products.

    python benchmarks/machine_limits.py

The roofline of docs/performance.md uses them: work of `a` bytes and `b`
operations takes at least a / bandwidth and b / peak seconds.
"""

import pathlib
import sys
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import measuring, running  # noqa: E402

# Far more than the processor's caches contain.
_COPY_VALUES = 1 << 26
_MATRIX = 3072


def _measure_copy() -> Iterator[measuring.Measurement]:
    """Measures the sum of two arrays: two are read, one is written."""
    shape = [_COPY_VALUES]
    a, b = tf.ones(shape), tf.ones(shape)
    # With a variable as the target no new memory has to be mapped.
    target = tf.Variable(a)

    @tf.function(autograph=False)
    def add():
        target.assign_add(b)

    del a
    yield _with_rate(
        measuring.measure(
            "machine/memory_bandwidth",
            add,
            sizes={"values": _COPY_VALUES},
            effort=running.effort(),
        ),
        "GB_per_second",
        3 * 4 * _COPY_VALUES / 1e9,
    )


def _measure_product(dtype: tf.DType) -> Iterator[measuring.Measurement]:
    values = np.random.default_rng(0).standard_normal((_MATRIX, _MATRIX))
    matrix = tf.constant(values, dtype)
    product = tf.function(lambda x: tf.matmul(x, x), autograph=False)
    yield _with_rate(
        measuring.measure(
            f"machine/matrix_product/{dtype.name}",
            lambda: product(matrix),
            sizes={"side": _MATRIX},
            effort=running.effort(),
        ),
        "GFLOP_per_second",
        2 * _MATRIX**3 / 1e9,
    )


def _with_rate(
    measurement: measuring.Measurement, name: str, amount: float
) -> measuring.Measurement:
    """Adds the amount a second of the fastest run as the value `name`."""
    return measuring.with_values(
        measurement, {name: amount / (measurement.wall_ms_min / 1000)}
    )


if __name__ == "__main__":
    running.run(
        {
            "copy": running.Case(_measure_copy),
            "float32": running.Case(lambda: _measure_product(tf.float32)),
            "bfloat16": running.Case(lambda: _measure_product(tf.bfloat16)),
        }
    )
