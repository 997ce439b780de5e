# SPDX-License-Identifier: Apache-2.0
"""Streams of encoded records, in the order in which examples are used.

`make_indexed_source` is deterministic: the record of an example depends on the
seed and on the number of the example only, and any step is reached without
reading the records before it. `make_streamed_source` reads large and remote
files faster, in no particular order. `make_ordered_source` is for evaluation.
"""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import mixing
from deeplab2_like.data.records import files as record_files
from deeplab2_like.graph import checks

_AUTOTUNE = tf.data.AUTOTUNE
_CYCLE_FILES = 16
_SERVED_CYCLE_FILES = 4
# deeplab2 shuffles 1000 records whatever their size: 10 GB for Cityscapes.
_SHUFFLE_BYTES = 2**31
_SAMPLED_RECORDS = 32
# Damaged records in a row after which there seem to be no good ones.
_MAX_DAMAGED = 1000

# Function from a serialized record to whether it is good, a bool scalar, and
# to a nest of tensors.
Load = Callable[[tf.Tensor], tuple[tf.Tensor, Any]]


@dataclasses.dataclass(frozen=True)
class Share:
    """The part of each global batch that one input pipeline makes.

    Attributes:
        global_batch: Images of a step over all replicas.
        batch: Images of one batch that comes out of the pipeline.
        per_step: Images that the pipeline makes for each step.
        first: Place in the global batch of the pipeline's first image.
        pipeline: Index of the pipeline.
        num_pipelines: Number of pipelines.
    """

    global_batch: int
    batch: int
    per_step: int
    first: int = 0
    pipeline: int = 0
    num_pipelines: int = 1


def compute_share(
    batch_size: int, context: tf.distribute.InputContext | None
) -> Share:
    """Computes the share of one input pipeline.

    Args:
        batch_size: Images of a step over all replicas.
        context: Identifies the pipeline; None: the only one, with batches of
            the global size.

    Raises:
        errors.ConfigError: The replicas cannot share the batch equally.
    """
    if context is None:
        return Share(batch_size, batch_size, batch_size)
    replicas = context.num_replicas_in_sync
    if batch_size % replicas:
        below = batch_size // replicas * replicas
        raise errors.ConfigError(
            f"batch_size is {batch_size}, which is not a multiple of the"
            f" {replicas} replicas. Set it to"
            f" {f'{below} or ' if below else ''}{below + replicas}."
        )
    per_step = batch_size // context.num_input_pipelines
    return Share(
        batch_size,
        batch_size // replicas,
        per_step,
        per_step * context.input_pipeline_id,
        context.input_pipeline_id,
        context.num_input_pipelines,
    )


def read_record(path: tf.Tensor, offset: tf.Tensor) -> tf.Tensor:
    """Reads the one record that begins at a byte of a TFRecord file.

    Args:
        path: string scalar.
        offset: int64 scalar.

    Returns:
        string scalar, the serialized record.
    """
    variant = tf.raw_ops.TFRecordDatasetV2(
        filenames=[path],
        compression_type="",
        buffer_size=tf.constant(0, tf.int64),
        byte_offsets=[offset],
    )
    data = tf.data.experimental.from_variant(
        variant, tf.TensorSpec([], tf.string)
    )
    return data.take(1).get_single_element()


def make_indexed_source(
    files: Sequence[record_files.RecordFile],
    share: Share,
    *,
    seed: int,
    start_step: int = 0,
    num_parallel_calls: int = _AUTOTUNE,
    load: Load | None = None,
    has_next: bool = False,
    turns: mixing.Turns | None = None,
) -> tf.data.Dataset:
    """Reads the records in an order computed from the seed.

    Example n of a training is image n % global_batch of step
    n // global_batch, however many pipelines share a step. Each epoch is a
    permutation of all records, computed from (seed, epoch); batches
    cross the ends of epochs.

    Args:
        files: Result of `record_files.scan_files`.
        share: Share of this pipeline.
        seed: Seed of the permutations.
        start_step: The first step, from 0.
        num_parallel_calls: Records that are read at once.
        load: Function that loads a record. One that is not good is replaced
            by the next good one in the files, so that all others keep their
            place. None: records stay serialized.
        has_next: Whether the example after each run of consecutive ones that
            are this pipeline's own is read too, for `pair_with_next`.
        turns: The examples of the training that are of these files; None: all
            are.

    Returns:
        An endless data set of (record, n).
    """
    paths = tf.constant([file.path for file in files])
    counts = [len(file.offsets) for file in files]
    file_ids = tf.constant(np.repeat(np.arange(len(files)), counts))
    offsets = tf.constant(np.concatenate([file.offsets for file in files]))
    total = sum(counts)
    start = start_step * share.global_batch + share.first
    first = start if turns is None else turns.count_before(start)

    def list_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(total, dtype=tf.int64),
            seed=tf.stack([tf.constant(seed, tf.int64), epoch]),
            alg="philox",
        )
        places = tf.range(
            tf.maximum(epoch * total, first), epoch * total + total
        )
        numbers = places if turns is None else turns.find_numbers(places)
        is_read = _is_read(numbers, share, has_next)
        return tf.data.Dataset.from_tensor_slices(
            (
                tf.gather(order, tf.boolean_mask(places, is_read) % total),
                tf.boolean_mask(numbers, is_read),
            )
        )

    def read_at(index: tf.Tensor) -> tf.Tensor:
        path = tf.gather(paths, tf.gather(file_ids, index))
        return read_record(path, tf.gather(offsets, index))

    def read(index: tf.Tensor, number: tf.Tensor) -> tuple[Any, tf.Tensor]:
        if load is None:
            return read_at(index), number
        return _load_good(
            lambda tries: load(read_at((index + tries) % total)), total
        ), number

    epochs = tf.data.Dataset.counter(start=first // total)
    return epochs.flat_map(list_epoch).map(
        read, num_parallel_calls=num_parallel_calls, deterministic=True
    )


def list_numbers(
    share: Share, start_step: int, *, has_next: bool = False
) -> tf.data.Dataset:
    """Lists the numbers of the examples that `make_indexed_source` yields.

    The arguments are those of that function, which was not told `turns`.

    Returns:
        An endless data set of int64 scalars.
    """
    numbers = tf.data.Dataset.counter(
        start_step * share.global_batch + share.first
    )
    return numbers.filter(lambda number: _is_read(number, share, has_next))


def _is_read(numbers: tf.Tensor, share: Share, has_next: bool) -> tf.Tensor:
    """Returns which examples a pipeline reads: bool of the same shape."""
    place = (numbers - share.first) % share.global_batch
    return place < share.per_step + int(has_next)


def _load_good(
    load_at: Callable[[tf.Tensor], tuple[tf.Tensor, Any]], limit: int
) -> Any:
    """Returns the first good record of `load_at(0)`, `load_at(1)` ..."""
    zero = tf.constant(0, tf.int64)
    is_good, loaded = load_at(zero)

    def is_searching(tries: tf.Tensor, is_good: tf.Tensor, _: Any) -> tf.Tensor:
        return ~is_good & (tries < limit)

    def load_next(
        tries: tf.Tensor, _: tf.Tensor, __: Any
    ) -> tuple[tf.Tensor, tf.Tensor, Any]:
        return (tries + 1, *load_at(tries))

    _, is_good, loaded = tf.while_loop(
        is_searching, load_next, (zero + 1, is_good, loaded)
    )
    with checks.after(_check_damage(is_good, limit)):
        return tf.nest.map_structure(tf.identity, loaded)


def _check_damage(is_good: tf.Tensor, count: int) -> tf.Tensor:
    return checks.check(
        is_good,
        lambda: checks.sentence(
            f"{count} damaged images follow each other, and none can be"
            " decoded. Look at them with data/check_data.py, and write the"
            " records again."
        ),
    )


def drop_damaged(data: tf.data.Dataset) -> tf.data.Dataset:
    """Leaves out the records that are not good.

    Args:
        data: Data set of ((whether the record is good, loaded record), n),
            endless.

    Returns:
        A data set of (loaded record, n), which fails where very many records
        in a row are not good.
    """

    def count(
        damaged: tf.Tensor, element: tuple[tuple[tf.Tensor, Any], tf.Tensor]
    ) -> tuple[tf.Tensor, Any]:
        (is_good, _), _ = element
        damaged = tf.where(is_good, tf.constant(0, tf.int64), damaged + 1)
        with checks.after(_check_damage(damaged < _MAX_DAMAGED, _MAX_DAMAGED)):
            return tf.identity(damaged), element

    data = data.scan(tf.constant(0, tf.int64), count)
    data = data.filter(lambda loaded, _: loaded[0])
    return data.map(lambda loaded, number: (loaded[1], number))


def pair_with_next(
    data: tf.data.Dataset, share: Share | None = None
) -> tf.data.Dataset:
    """Gives each example the one that follows it.

    Args:
        data: Data set of (nest of tensors with static shapes, n), endless.
        share: Share of the pipeline whose `make_indexed_source` was told
            `has_next`, so that examples of other pipelines are in `data` and
            are only the next one of another; None: there are none.

    Returns:
        A data set of (example, next example, n of the former).
    """

    def shift(
        last: tuple[Any, tf.Tensor], element: tuple[Any, tf.Tensor]
    ) -> tuple[Any, Any]:
        return element, (last[0], element[0], last[1])

    def is_own(_: Any, __: Any, number: tf.Tensor) -> tf.Tensor:
        if share is None:
            return number >= 0
        place = (number - share.first) % share.global_batch
        return (number >= 0) & (place < share.per_step)

    example = tf.nest.map_structure(
        lambda spec: tf.zeros(spec.shape, spec.dtype), data.element_spec[0]
    )
    nothing = (example, tf.constant(-1, tf.int64))
    return data.scan(nothing, shift).filter(is_own)


def _limit_shuffle_buffer(path: str, count: int) -> int:
    """Limits a number of records to `_SHUFFLE_BYTES` of memory."""
    lengths = record_files.scan_file(path, max_records=_SAMPLED_RECORDS).lengths
    if not len(lengths):
        return count
    limit = max(1, int(_SHUFFLE_BYTES / lengths.mean()))
    if limit < count:
        logging.info(
            "Shuffling %d records instead of %d: they have about %.1f MB each.",
            limit,
            count,
            lengths.mean() / 1e6,
        )
    return min(count, limit)


def make_streamed_source(
    paths: Sequence[str],
    share: Share,
    *,
    seed: int,
    shuffle_buffer_size: int,
    on_damage: str = "fail",
    is_served: bool = False,
) -> tf.data.Dataset:
    """Reads several files at once, endlessly, and shuffles their records.

    As deeplab2, with a buffer of at most about 2 GiB.

    Args:
        paths: Paths of the files.
        share: Share of this pipeline. Each pipeline reads other files, or
            other records where there are fewer files than pipelines.
        seed: Seed of the order, which also depends on timing.
        shuffle_buffer_size: Records from which the next one is drawn.
        on_damage: See `record_files.scan_files`.
        is_served: Whether workers of a tf.data service share the files among
            themselves. They then have the same order in each epoch: the first
            worker would take all of them to shuffle.

    Returns:
        An endless data set of (serialized record, number); the numbers differ
        over all pipelines.
    """
    by_file = len(paths) >= share.num_pipelines
    own = list(paths)
    if by_file:
        own = own[share.pipeline :: share.num_pipelines]
    buffer_size = _limit_shuffle_buffer(own[0], shuffle_buffer_size)
    if is_served:
        own = np.random.default_rng(seed).permutation(own).tolist()
    data = tf.data.Dataset.from_tensor_slices(own)
    if not is_served:
        data = data.shuffle(len(own), seed=seed)
    data = data.repeat()
    data = data.interleave(
        tf.data.TFRecordDataset,
        cycle_length=min(
            len(own), _SERVED_CYCLE_FILES if is_served else _CYCLE_FILES
        ),
        num_parallel_calls=_AUTOTUNE,
        deterministic=False,
    )
    if on_damage == "skip":
        data = data.ignore_errors(log_warning=True)
    if not by_file:
        data = data.shard(share.num_pipelines, share.pipeline)
    if buffer_size > 1:
        data = data.shuffle(buffer_size, seed=seed + 1)
    # Not zipped with a counter, whose numbers the workers of a service would
    # share among themselves one by one.
    return data.scan(
        tf.constant(share.pipeline, tf.int64),
        lambda number, record: (number + share.num_pipelines, (record, number)),
    )


def make_ordered_source(
    paths: Sequence[str], total: int, share: Share
) -> tf.data.Dataset:
    """Reads each record once, in the order of the sorted files.

    Args:
        paths: Paths of the files.
        total: Number of records in all files.
        share: Share of this pipeline. Each of n pipelines reads every n-th
            record.

    Returns:
        A data set of serialized records, of known cardinality.
    """
    data = tf.data.TFRecordDataset(list(paths))
    data = data.apply(tf.data.experimental.assert_cardinality(total))
    if share.num_pipelines > 1:
        data = data.shard(share.num_pipelines, share.pipeline)
    return data
