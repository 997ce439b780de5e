# SPDX-License-Identifier: Apache-2.0
"""Bilinear upsampling, by rows and then by columns.

Equal to TensorFlow's ResizeBilinear with align_corners, or where asked with
half-pixel centers, height first and then width, up to rounding; the result is
equal in every mode.

Reading every column through an index is slow. The columns of a target that
is about P times as wide as the source fall into P phases, each of which reads
neighbors of the source in order: all columns of a phase are computed
together, and interleaved at the end.

h, w: source size; H, W: target size; P phases of Q columns each.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np
import tensorflow as tf

from deeplab2_like.graph import compilation, exact_floats
from deeplab2_like.graph.compilation import Size

# Phases that are tried where sizes are unknown: heads have stride 4.
_USUAL_PHASES = 4


class Taps(NamedTuple):
    """Places where the pixels of a target axis read on the source axis.

    Attributes:
        lower: int32 [...], source index.
        upper: int32 [...], the next index, or the same at the end.
        fraction: float32 [...] in 0..1, the weight of `upper`.
    """

    lower: tf.Tensor
    upper: tf.Tensor
    fraction: tf.Tensor


Expand = Callable[[tf.Tensor], tf.Tensor]
_T = TypeVar("_T")


class ColumnPlan(NamedTuple):
    """Plan to widen rows.

    Attributes:
        taps: Taps of each column, [P, Q]. Columns beyond the target repeat
            the last one.
        is_previous: bool [P, Q], the column of quotient q reads q - 1 and q,
            else q and q + 1; None if that never happens.
        is_regular: Whether `is_previous` describes all columns.
        source: Width w of the source.
        target: Width W of the target.
    """

    taps: Taps
    is_previous: tf.Tensor | None
    is_regular: bool | tf.Tensor
    source: Size
    target: Size


def compute_taps(
    source: Size, target: Size, *, is_half_pixel: bool = False
) -> Taps:
    """Computes the taps of an axis in the arithmetic of ResizeBilinear.

    Args:
        source: Pixels of the source axis.
        target: Pixels of the target axis.
        is_half_pixel: Whether edges lie on edges, and pixels have their
            centers at a half; else corner pixels lie on corner pixels.
    """
    if isinstance(source, int) and isinstance(target, int):
        known = _compute_known_taps(source, target, is_half_pixel)
        return Taps(*map(tf.constant, known))
    skipped = 0 if is_half_pixel else 1
    steps = tf.cast(tf.stack([source - skipped, target - skipped]), tf.float32)
    scale = tf.math.divide_no_nan(steps[0], steps[1])
    pixel = tf.cast(tf.range(target), tf.float32)
    if is_half_pixel:
        place = exact_floats.rounded((pixel + 0.5) * scale) - 0.5
        place = tf.clip_by_value(place, 0.0, tf.cast(source - 1, tf.float32))
    else:
        place = exact_floats.rounded(pixel * scale)
    floor = tf.floor(place)
    lower = tf.cast(floor, tf.int32)
    return Taps(lower, tf.minimum(lower + 1, source - 1), place - floor)


def _compute_known_taps(
    source: int, target: int, is_half_pixel: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pixel = np.arange(target, dtype=np.float32)
    if is_half_pixel:
        scale = np.float32(source) / np.float32(target)
        half = np.float32(0.5)
        place = np.clip((pixel + half) * scale - half, 0, source - 1)
        place = place.astype(np.float32)
    else:
        scale = np.float32(source - 1) / np.float32(max(target - 1, 1))
        place = pixel * scale
    floor = np.floor(place)
    lower = floor.astype(np.int32)
    return lower, np.minimum(lower + 1, source - 1), place - floor


def interpolate(
    lower: tf.Tensor, upper: tf.Tensor, fraction: tf.Tensor
) -> tf.Tensor:
    """Returns lower + fraction * (upper - lower), equal in every mode."""
    return lower + exact_floats.rounded(fraction * (upper - lower))


def plan_columns(
    source: Size, target: Size, *, is_half_pixel: bool = False
) -> ColumnPlan:
    """Plans how rows of `source` values become rows of `target` values.

    The arguments are those of `compute_taps`.
    """
    is_known = isinstance(source, int) and isinstance(target, int)
    phases = _USUAL_PHASES
    if is_known and is_half_pixel:
        phases = max(1, round(target / source))
    elif is_known and source > 1:
        phases = max(1, round((target - 1) / (source - 1)))
    per_phase = compilation.ceil_divide(target, phases)
    column = tf.reshape(tf.range(per_phase * phases), [per_phase, phases])
    quotient = tf.transpose(column // phases)
    column = tf.minimum(tf.transpose(column), target - 1)
    taps = compute_taps(source, target, is_half_pixel=is_half_pixel)
    taps = Taps(*(tf.gather(x, column) for x in taps))
    is_previous = taps.lower == quotient - 1
    is_regular = tf.reduce_all(is_previous | (taps.lower == quotient))
    if not is_known:
        return ColumnPlan(taps, is_previous, is_regular, source, target)
    # With known sizes, the taps are also computed in NumPy.
    lower, _, _ = _compute_known_taps(source, target, is_half_pixel)
    difference = lower - np.arange(target) // phases
    return ColumnPlan(
        taps,
        is_previous if np.any(difference < 0) else None,
        bool(np.all((difference == 0) | (difference == -1))),
        source,
        target,
    )


def pad_rows(plan: ColumnPlan, rows: tf.Tensor) -> tf.Tensor:
    """Repeats the ends of rows [..., w] for phases that read beyond them."""
    first, last = rows[..., :1], rows[..., -1:]
    padded = tf.concat([first, rows, last, last], axis=-1)
    if isinstance(plan.is_regular, bool):
        return padded
    # Shapes of the branch by phases must be valid even if it is not taken.
    quotients = tf.shape(plan.taps.fraction)[1]
    missing = tf.maximum(quotients + 2 - tf.shape(padded)[-1], 0)
    return tf.pad(padded, [[0, 0]] * (rows.shape.rank - 1) + [[0, missing]])


def widen(plan: ColumnPlan, compute: Callable[[Expand], _T]) -> _T:
    """Computes something from widened rows.

    Args:
        plan: Result of `plan_columns`.
        compute: Function of a function that widens rows, float32 [..., w + 3]
            from `pad_rows`, to [..., P, Q]. Called twice where sizes are
            unknown, once for each branch of the graph.

    Returns:
        The result of `compute`.
    """

    def by_phases(padded: tf.Tensor) -> tf.Tensor:
        return _widen_by_phases(plan, padded)

    def by_index(padded: tf.Tensor) -> tf.Tensor:
        return interpolate(
            tf.gather(padded, plan.taps.lower + 1, axis=-1),
            tf.gather(padded, plan.taps.upper + 1, axis=-1),
            plan.taps.fraction,
        )

    if isinstance(plan.is_regular, bool):
        return compute(by_phases if plan.is_regular else by_index)
    return tf.cond(
        plan.is_regular, lambda: compute(by_phases), lambda: compute(by_index)
    )


def _widen_by_phases(plan: ColumnPlan, padded: tf.Tensor) -> tf.Tensor:
    """Widens padded rows [..., w + 3] to [..., P, Q] without indices."""
    # All quotients are below w + 1, since each column reads q or q - 1.
    count = compilation.sizes(plan.taps.fraction)[1]
    padded = padded[..., tf.newaxis, :]
    here = padded[..., 1 : count + 1]
    after = padded[..., 2 : count + 2]
    if plan.is_previous is None:
        return interpolate(here, after, plan.taps.fraction)
    before = padded[..., :count]
    return interpolate(
        tf.where(plan.is_previous, before, here),
        tf.where(plan.is_previous, here, after),
        plan.taps.fraction,
    )


def interleave(plan: ColumnPlan, phases: tf.Tensor) -> tf.Tensor:
    """Puts the columns [N, P, Q] of all phases in order, [N, W]."""
    count, number, quotients = compilation.sizes(phases)
    columns = tf.transpose(phases, [0, 2, 1])
    columns = tf.reshape(columns, [count, number * quotients])
    return columns[:, : plan.target]


def upsample_maps(maps_chw: tf.Tensor, size: tuple[Size, Size]) -> tf.Tensor:
    """Upsamples a few maps.

    Args:
        maps_chw: float32 [C, h, w].
        size: (H, W).

    Returns:
        float32 [C, H, W].
    """
    channels, height, width = compilation.sizes(maps_chw)
    plan = plan_columns(width, size[1])
    padded = pad_rows(plan, maps_chw)
    taps = compute_taps(height, size[0])
    rows = interpolate(
        tf.gather(padded, taps.lower, axis=1),
        tf.gather(padded, taps.upper, axis=1),
        taps.fraction[:, tf.newaxis],
    )
    rows = tf.reshape(rows, [channels * size[0], -1])
    phases = widen(plan, lambda expand: expand(rows))
    return tf.reshape(interleave(plan, phases), [channels, *size])
