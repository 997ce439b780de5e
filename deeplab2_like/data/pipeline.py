# SPDX-License-Identifier: Apache-2.0
"""The input pipeline from record files to batches for the model.

In reading order: `LabelRules`, `Reading`, `make_training_dataset` and
`make_evaluation_dataset`. `preprocessing` transforms an image, `build` makes
both data sets from the options of a config.
"""

import dataclasses
import functools
import logging
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from deeplab2_like.data import damage as damage_lib
from deeplab2_like.data import mixing, preprocessing, sources, training_steps
from deeplab2_like.data.large import windows as windows_lib
from deeplab2_like.data.records import decoding
from deeplab2_like.data.records import files as record_files
from deeplab2_like.graph import checks

_AUTOTUNE = tf.data.AUTOTUNE
# Added to the seed of the order of the second set of records.
_MIX = 1 << 31

MakeTargets = Callable[[tf.Tensor], dict[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class LabelRules:
    """The labels that are allowed; see `decoding.check_label_range`."""

    num_classes: int
    ignore_label: int
    label_divisor: int

    @classmethod
    def from_descriptor(cls, descriptor: Any) -> "LabelRules":
        """Returns the rules of a `DatasetDescriptor`."""
        return cls(
            num_classes=descriptor.num_classes,
            ignore_label=descriptor.ignore_label,
            label_divisor=descriptor.label_divisor,
        )

    @property
    def void(self) -> int:
        """The panoptic id of pixels that are not scored."""
        return self.ignore_label * self.label_divisor


@dataclasses.dataclass(frozen=True)
class Reading:
    """The order, random numbers and threads of training.

    In deterministic mode order and augmentation are a function of (seed, step)
    and of the files alone: not of the number of pipelines, replicas or threads,
    nor of where training started. Each epoch uses each record once. Otherwise
    records come as they are read, `start_step` only varies the random numbers.

    Attributes:
        seed: Seed of all random numbers; None draws one, which deterministic
            mode refuses.
        deterministic: Whether the mode is deterministic, for which the headers
            of all records are read first.
        start_step: The step of the first batch, from 0.
        shuffle_buffer_size: Records from which the next one is drawn; unused
            in deterministic mode, which shuffles the whole data set.
        num_parallel_calls: Examples that are prepared at once.
        on_damage: "fail" stops at images and labels that cannot be decoded
            and at damaged files, "skip" leaves them out; see also
            `record_files.scan_files`.
        damage: Report of what is left out; that of the log when None.
        mix: A second set of records that training also reads; None: none.
        windows: Large images, of which windows are read in place of records,
            in the order of deterministic mode; None: records.
        is_served: Whether workers of a tf.data service read, who share the
            files among themselves; not in deterministic mode.
    """

    seed: int | None = None
    deterministic: bool = False
    start_step: int = 0
    shuffle_buffer_size: int = 1000
    num_parallel_calls: int = _AUTOTUNE
    on_damage: str = "fail"
    damage: damage_lib.DamageReport | None = None
    mix: mixing.Mix | None = None
    windows: windows_lib.LargeWindows | None = None
    is_served: bool = False


def _set_options(
    data: tf.data.Dataset, is_deterministic: bool
) -> tf.data.Dataset:
    settings = tf.data.Options()
    settings.deterministic = is_deterministic
    # The pipelines share the records among themselves, see `sources`.
    settings.experimental_distribute.auto_shard_policy = (
        tf.data.experimental.AutoShardPolicy.OFF
    )
    return data.with_options(settings)


def _open_records(
    file_patterns: Sequence[str], rules: LabelRules, reading: Reading
) -> tuple[list[str], sources.Load | None]:
    """Returns the paths of the records, and what loads them with damage."""
    if reading.windows is not None:
        return [], None
    paths = record_files.find_files(file_patterns)
    if reading.on_damage != "skip":
        return paths, None
    mixed = reading.mix.find_files() if reading.mix is not None else []
    damage = reading.damage or damage_lib.DamageReport(logging.warning)
    damage.add_damaged_files([*paths, *mixed])
    decode = functools.partial(
        decoding.decode_example, **dataclasses.asdict(rules), allows_damage=True
    )
    return paths, damage_lib.make_load(decode, damage)


def _make_mixed_source(
    paths: Sequence[str],
    mix: mixing.Mix,
    share: sources.Share,
    reading: Reading,
    seed: int,
    **options: Any,
) -> tf.data.Dataset:
    """Makes the data set of `_make_source` of two sets of records."""
    first_turns, second_turns = mix.turns()
    first, second = (
        _make_source(files, share, reading, seed + offset, turns=t, **options)
        for files, offset, t in (
            (paths, 0, first_turns),
            (mix.find_files(), _MIX, second_turns),
        )
    )
    if reading.deterministic:
        numbers = sources.list_numbers(
            share, reading.start_step, has_next=options["has_next"]
        )
        return mixing.merge(first, second, second_turns, numbers)
    counter = tf.data.Dataset.counter()
    merged = mixing.merge(first, second, second_turns, counter)
    # Both sets were numbered from 0.
    numbers = tf.data.Dataset.counter(share.pipeline, share.num_pipelines)
    return tf.data.Dataset.zip((merged.map(lambda record, _: record), numbers))


def _make_source(
    paths: Sequence[str],
    share: sources.Share,
    reading: Reading,
    seed: int,
    *,
    load: sources.Load | None,
    has_next: bool,
    turns: mixing.Turns | None = None,
) -> tf.data.Dataset:
    """Makes the endless data set of (record, number).

    Records are what `load` returns, serialized if it is None. `has_next` and
    `turns`: see `sources.make_indexed_source`. Windows are decoded.
    """
    if reading.windows is not None:
        return reading.windows.make_source(
            share,
            seed=seed,
            start_step=reading.start_step,
            has_next=has_next,
            num_parallel_calls=reading.num_parallel_calls,
        )
    if reading.deterministic:
        return sources.make_indexed_source(
            record_files.scan_files(paths, on_damage=reading.on_damage),
            share,
            seed=seed,
            start_step=reading.start_step,
            num_parallel_calls=reading.num_parallel_calls,
            load=load,
            has_next=has_next,
            turns=turns,
        )
    data = sources.make_streamed_source(
        paths,
        share,
        seed=seed + reading.start_step,
        shuffle_buffer_size=reading.shuffle_buffer_size,
        on_damage=reading.on_damage,
        is_served=reading.is_served,
    )
    if load is None:
        return data
    return sources.drop_damaged(
        data.map(
            lambda record, number: (load(record), number),
            num_parallel_calls=reading.num_parallel_calls,
        )
    )


def make_training_dataset(
    file_patterns: Sequence[str],
    rules: LabelRules,
    options: preprocessing.Preprocessing,
    make_targets: MakeTargets,
    reading: Reading | None = None,
    *,
    batch_size: int,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Makes the endless data set of augmented training batches.

    Args:
        file_patterns: Glob patterns of TFRecord files; see also
            `Reading.windows`.
        rules: The labels that are allowed.
        options: Options of preprocessing.
        make_targets: Function from a panoptic label, int32 [H, W], to targets.
        reading: Order, random numbers and threads; None: `Reading()`.
        batch_size: Images of a step over all replicas.
        input_context: The context that `distribute_datasets_from_function`
            passes, so that batches have the size of one replica; None: one
            pipeline, global batches.

    Returns:
        Batches {"image": float32 [B, H, W, 3] in 0..255, "targets": {...},
        "name": string [B]}.

    Raises:
        errors.DataError: Files are missing, empty or damaged.
        errors.ConfigError: The options do not allow training.
        ValueError: Deterministic mode has no seed.
    """
    options.check_training()
    reading = reading or Reading()
    seed = reading.seed
    if seed is None:
        if reading.deterministic:
            raise ValueError("deterministic needs a seed.")
        seed = secrets.randbelow(2**31)
    paths, load = _open_records(file_patterns, rules, reading)
    is_large = reading.windows is not None
    share = sources.compute_share(batch_size, input_context)
    pastes = options.copy_paste.is_active
    make = _make_source
    if reading.mix is not None:
        make = functools.partial(_make_mixed_source, mix=reading.mix)
    data = make(
        paths,
        share=share,
        reading=reading,
        seed=seed,
        load=load,
        has_next=pastes,
    )

    def decode(record: tf.Tensor) -> dict[str, tf.Tensor]:
        return decoding.decode_example(record, **dataclasses.asdict(rules))

    step = training_steps.make_crop_step(
        decode if load is None and not is_large else None,
        options,
        seed,
        rules.void,
    )
    if pastes:
        data = sources.pair_with_next(
            data.map(step, num_parallel_calls=reading.num_parallel_calls),
            share if reading.deterministic or is_large else None,
        )
        step = training_steps.make_paste_step(
            options.copy_paste, seed, rules.label_divisor
        )

    data = data.map(
        training_steps.add_targets(step, make_targets),
        num_parallel_calls=reading.num_parallel_calls,
    )
    data = data.batch(share.batch, drop_remainder=True).prefetch(_AUTOTUNE)
    return _set_options(data, reading.deterministic)


def _to_dense(element: dict[str, Any], void: int) -> dict[str, Any]:
    """Turns the ragged tensors of a batch into dense ones."""
    heights_widths = element.pop("canvas_size")
    is_equal = checks.check(
        tf.reduce_all(heights_widths == heights_widths[:1]),
        lambda: checks.sentence(
            "The images ",
            element["name"],
            " of one evaluation batch have different canvas sizes ",
            heights_widths,
            ". Set eval_dataset_options.batch_size to 1, or pad_to_multiple_of"
            " to 0.",
        ),
    )

    def densify(tensor: Any, default: Any = None) -> Any:
        if not isinstance(tensor, tf.RaggedTensor):
            return tensor
        with tf.control_dependencies([is_equal]):
            return tensor.to_tensor(default_value=default)

    dense = {
        key: tf.nest.map_structure(densify, element[key])
        for key in element
        if key != "panoptic"
    }
    return dense | {"panoptic": densify(element["panoptic"], void)}


def make_evaluation_dataset(
    file_patterns: Sequence[str],
    rules: LabelRules,
    options: preprocessing.Preprocessing,
    make_targets: MakeTargets | None = None,
    *,
    batch_size: int = 1,
    is_label_required: bool = True,
    input_context: tf.distribute.InputContext | None = None,
    num_parallel_calls: int = _AUTOTUNE,
) -> tf.data.Dataset:
    """Makes the data set of evaluation batches: each record once, in order.

    Args:
        file_patterns: Glob patterns of TFRecord files.
        rules: The labels that are allowed.
        options: Options of preprocessing.
        make_targets: Function from the label of the canvas, int32 [H, W], to
            targets; None: no targets.
        batch_size: Images of a step over all replicas; the last batch may be
            smaller. Above 1 all canvases of a batch must have the same size.
        is_label_required: Whether a record without a label is an error; if
            not, its label is void.
        input_context: See `make_training_dataset`.
        num_parallel_calls: Examples that are prepared at once.

    Returns:
        Batches {"image": float32 [B, H, W, 3] in 0..255, the canvas,
        "valid_size": int32 [B, 2], the size of the image on it,
        "original_size": int32 [B, 2], "panoptic": int32 [B, h, w], the label
        at the original size, filled up with void to the largest of the batch,
        "targets": {...} of the canvas, "name": string [B]}.

    Raises:
        errors.DataError: Files are missing, empty or damaged.
        errors.ConfigError: The options contradict each other.
    """
    options.check_evaluation()
    paths = record_files.find_files(file_patterns)
    files = record_files.scan_files(paths)
    total = sum(len(file.offsets) for file in files)
    share = sources.compute_share(batch_size, input_context)

    @tf.autograph.experimental.do_not_convert
    def prepare(record: tf.Tensor) -> dict[str, Any]:
        example = decoding.decode_example(
            record,
            **dataclasses.asdict(rules),
            is_label_required=is_label_required,
        )
        image, panoptic, size = preprocessing.make_evaluation_canvas(
            example["image"], example["panoptic"], options, rules.void
        )
        return {
            "image": image,
            "valid_size": size,
            "original_size": tf.shape(example["panoptic"]),
            "panoptic": example["panoptic"],
            "targets": make_targets(panoptic) if make_targets else {},
            "name": example["name"],
            "canvas_size": tf.shape(panoptic),
        }

    data = sources.make_ordered_source(paths, total, share)
    data = data.map(prepare, num_parallel_calls=num_parallel_calls)
    data = data.ragged_batch(share.batch)
    data = data.map(lambda element: _to_dense(element, rules.void))
    return _set_options(data.prefetch(_AUTOTUNE), True)
