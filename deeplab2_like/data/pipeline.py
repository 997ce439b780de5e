# SPDX-License-Identifier: Apache-2.0
"""The input pipeline: record files in, batches for the model out.

In reading order: `LabelRules`, `make_training_dataset` and
`make_evaluation_dataset`. `preprocessing` says what is done to an image,
`build` makes both data sets from the options of a config.
"""

import dataclasses
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from deeplab2_like.data import (
    augmentation,
    graph_errors,
    preprocessing,
    sources,
)
from deeplab2_like.data.records import decoding
from deeplab2_like.data.records import files as record_files

_AUTOTUNE = tf.data.AUTOTUNE

MakeTargets = Callable[[tf.Tensor], dict[str, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class LabelRules:
    """Which labels are legal; `decoding.check_label_range` explains them."""

    num_classes: int
    ignore_label: int
    label_divisor: int

    @classmethod
    def from_descriptor(cls, descriptor: Any) -> "LabelRules":
        """Takes them from a `DatasetDescriptor`."""
        return cls(
            num_classes=descriptor.num_classes,
            ignore_label=descriptor.ignore_label,
            label_divisor=descriptor.label_divisor,
        )

    @property
    def void(self) -> int:
        """The panoptic id of pixels that are not scored."""
        return self.ignore_label * self.label_divisor


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


def _make_training_step(
    rules: LabelRules,
    options: preprocessing.Preprocessing,
    make_targets: MakeTargets,
    seed: int,
) -> Callable[[tf.Tensor, tf.Tensor], dict[str, Any]]:
    """Makes the function from a record and its number to a training example."""

    def prepare(record: tf.Tensor, number: tf.Tensor) -> dict[str, Any]:
        example = decoding.decode_example(record, **dataclasses.asdict(rules))
        uniform = tf.random.stateless_uniform(
            [augmentation.NUM_DRAWS],
            seed=tf.stack([tf.constant(seed, tf.int64), number]),
            alg="philox",
        )
        image, panoptic = preprocessing.augment_example(
            example["image"], example["panoptic"], uniform, options, rules.void
        )
        return {
            "image": image,
            "targets": make_targets(panoptic),
            "name": example["name"],
        }

    return prepare


def make_training_dataset(
    file_patterns: Sequence[str],
    rules: LabelRules,
    options: preprocessing.Preprocessing,
    make_targets: MakeTargets,
    *,
    batch_size: int,
    seed: int | None = None,
    deterministic: bool = False,
    start_step: int = 0,
    shuffle_buffer_size: int = 1000,
    input_context: tf.distribute.InputContext | None = None,
    num_parallel_calls: int = _AUTOTUNE,
    on_damage: str = "fail",
) -> tf.data.Dataset:
    """Makes the endless data set of augmented training batches.

    In deterministic mode order and augmentation are a function of (seed, step)
    and of the files alone: not of the number of pipelines, replicas or threads,
    nor of where training started. Each epoch uses each record once. Otherwise
    records come as they are read, `start_step` only varies the random numbers.

    Args:
        file_patterns: Glob patterns of TFRecord files.
        rules: Which labels are legal.
        options: What is done to an image.
        make_targets: Returns the targets of a panoptic label, int32 [H, W].
        batch_size: Images of a step over all replicas.
        seed: Of all random numbers; None draws one, which deterministic mode
            refuses.
        deterministic: See above. It reads the headers of all records first.
        start_step: The step of the first batch, from 0.
        shuffle_buffer_size: Not used in deterministic mode, which shuffles the
            whole data set.
        input_context: From `distribute_datasets_from_function`; batches then
            have the size of one replica. None: one pipeline, global batches.
        num_parallel_calls: Examples that are prepared at once.
        on_damage: "fail", or "skip": leave out what follows damage in a file.

    Returns:
        Batches {"image": float32 [B, H, W, 3] in 0..255, "targets": {...},
        "name": string [B]}.

    Raises:
        errors.DataError: Files that are missing, empty or damaged.
        errors.ConfigError: Options that cannot be trained with.
        ValueError: deterministic without a seed.
    """
    options.check_training()
    if deterministic and seed is None:
        raise ValueError("deterministic needs a seed.")
    if seed is None:
        seed = secrets.randbelow(2**31)
    paths = record_files.find_files(file_patterns)
    share = sources.compute_share(batch_size, input_context)
    if deterministic:
        data = sources.make_indexed_source(
            record_files.scan_files(paths, on_damage=on_damage),
            share,
            seed=seed,
            start_step=start_step,
            num_parallel_calls=num_parallel_calls,
        )
    else:
        data = sources.make_streamed_source(
            paths,
            share,
            seed=seed + start_step,
            shuffle_buffer_size=shuffle_buffer_size,
            on_damage=on_damage,
        )

    data = data.map(
        _make_training_step(rules, options, make_targets, seed),
        num_parallel_calls=num_parallel_calls,
    )
    data = data.batch(share.batch, drop_remainder=True).prefetch(_AUTOTUNE)
    return _set_options(data, deterministic)


def _to_dense(element: dict[str, Any], void: int) -> dict[str, Any]:
    """Turns the ragged tensors of a batch into dense ones."""
    heights_widths = element.pop("canvas_size")
    is_equal = graph_errors.check(
        tf.reduce_all(heights_widths == heights_widths[:1]),
        lambda: tf.strings.join(
            [
                "The images ",
                tf.strings.format("{}", element["name"], summarize=4),
                " of one evaluation batch have different canvas sizes ",
                tf.strings.format("{}", heights_widths, summarize=4),
                ". Set eval_dataset_options.batch_size to 1, or"
                " pad_to_multiple_of to 0.",
            ]
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
        rules: Which labels are legal.
        options: What is done to an image.
        make_targets: Returns the targets of the canvas; None: no targets.
        batch_size: Images of a step over all replicas; the last batch may be
            smaller. Above 1 all canvases of a batch must have the same size.
        is_label_required: Whether a record without a label is an error; if
            not, its label is void.
        input_context: As in `make_training_dataset`.
        num_parallel_calls: Examples that are prepared at once.

    Returns:
        Batches {"image": float32 [B, H, W, 3] in 0..255, the canvas,
        "valid_size": int32 [B, 2], the part of it that is image,
        "original_size": int32 [B, 2], "panoptic": int32 [B, h, w], the label
        at the original size, filled up with void to the largest of the batch,
        "targets": {...} of the canvas, "name": string [B]}.

    Raises:
        errors.DataError: Files that are missing, empty or damaged.
        errors.ConfigError: Options that contradict each other.
    """
    options.check_evaluation()
    paths = record_files.find_files(file_patterns)
    files = record_files.scan_files(paths)
    total = sum(len(file.offsets) for file in files)
    share = sources.compute_share(batch_size, input_context)

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
