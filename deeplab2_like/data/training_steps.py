# SPDX-License-Identifier: Apache-2.0
"""What is done to each training example, and its random numbers.

`make_crop_step` decodes and augments, `make_paste_step` pastes things of the
next crop, `add_targets` makes the example that is batched. All random numbers
of an example come from (seed, number of the example).
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from deeplab2_like.data import (
    augmentation,
    autoaugment,
    blur,
    color_jitter,
    copy_paste,
    preprocessing,
    rotation,
)

# Streams of random numbers; that of the crop is 0.
_COLOR_STREAM, _PASTE_STREAM, _CHOICE_STREAM = 1, 2, 3
_POLICY_STREAM, _ROTATION_STREAM, _GRAY_STREAM, _BLUR_STREAM = 4, 5, 6, 7

Crop = dict[str, tf.Tensor]
Step = Callable[..., tuple[Crop, tf.Tensor]]


def _make_seed(seed: int, number: tf.Tensor, stream: int = 0) -> tf.Tensor:
    """Makes the seed of an example, int64 [2].

    Seeds are below 2**31, so that streams are independent of each other and
    what one step of the augmentation draws does not change another's.
    """
    return tf.stack([tf.constant(seed + (stream << 32), tf.int64), number])


def _draw(
    seed: int, number: tf.Tensor, count: int, stream: int = 0
) -> tf.Tensor:
    """Draws the random numbers of an example: float32 [count] in [0, 1)."""
    return tf.random.stateless_uniform(
        [count], seed=_make_seed(seed, number, stream), alg="philox"
    )


def _draw_example(seed: int, number: tf.Tensor) -> preprocessing.Draws:
    """Draws what `preprocessing.augment_example` needs."""

    def draw(count: int, stream: int) -> tf.Tensor:
        return _draw(seed, number, count, stream)

    return preprocessing.Draws(
        place=draw(1 + augmentation.NUM_DRAWS, 0),
        colors=draw(color_jitter.NUM_DRAWS, _COLOR_STREAM),
        policy=draw(autoaugment.NUM_DRAWS, _POLICY_STREAM),
        rotation=draw(rotation.NUM_DRAWS, _ROTATION_STREAM),
        gray=draw(1, _GRAY_STREAM),
        blur=draw(blur.NUM_DRAWS, _BLUR_STREAM),
    )


def make_crop_step(
    decode: Callable[[Any], dict[str, tf.Tensor]] | None,
    options: preprocessing.Preprocessing,
    seed: int,
    void: int,
) -> Step:
    """Makes the function from a record and its number to a crop and number.

    Args:
        decode: Function from a record to the result of
            `decoding.decode_example`; None: the records are such results.
        options: Options of preprocessing.
        seed: Seed of the training, below 2**31.
        void: Label of padding.

    Returns:
        Function of (record, int64 scalar), which returns {"image": float32
        [H, W, 3] in 0..255, "panoptic": int32 [H, W], "name": string [] } and
        the number.
    """

    @tf.autograph.experimental.do_not_convert
    def crop(record: Any, number: tf.Tensor) -> tuple[Crop, tf.Tensor]:
        example = record if decode is None else decode(record)
        image, panoptic = preprocessing.augment_example(
            example["image"],
            example["panoptic"],
            _draw_example(seed, number),
            options,
            void,
        )
        cropped = {"image": image, "panoptic": panoptic}
        return cropped | {"name": example["name"]}, number

    return crop


def make_paste_step(
    options: copy_paste.CopyPaste, seed: int, label_divisor: int
) -> Step:
    """Makes the function that pastes things of the next crop onto a crop.

    Args:
        options: What is pasted.
        seed: Seed of the training, below 2**31.
        label_divisor: Divisor of the panoptic ids.

    Returns:
        Function of (crop, next crop, number of the former), which returns crop
        and number; see `make_crop_step`.
    """

    @tf.autograph.experimental.do_not_convert
    def paste(
        example: Crop, following: Crop, number: tf.Tensor
    ) -> tuple[Crop, tf.Tensor]:
        image, panoptic = copy_paste.paste_at_random(
            (example["image"], example["panoptic"]),
            (following["image"], following["panoptic"]),
            _draw(seed, number, copy_paste.NUM_DRAWS, _PASTE_STREAM),
            _make_seed(seed, number, _CHOICE_STREAM),
            options=options,
            label_divisor=label_divisor,
        )
        pasted = {"image": image, "panoptic": panoptic}
        return pasted | {"name": example["name"]}, number

    return paste


def add_targets(
    step: Step, make_targets: Callable[[tf.Tensor], dict[str, tf.Tensor]]
) -> Callable[..., dict[str, Any]]:
    """Makes the function that does a step and returns a training example.

    Args:
        step: The last step; it has all arguments of the returned function.
        make_targets: Function from a panoptic label, int32 [H, W], to targets.

    Returns:
        Function that returns {"image": ..., "targets": ..., "name": ...}.
    """

    @tf.autograph.experimental.do_not_convert
    def finish(*element: Any) -> dict[str, Any]:
        crop, _ = step(*element)
        return {
            "image": crop["image"],
            "targets": make_targets(crop["panoptic"]),
            "name": crop["name"],
        }

    return finish
