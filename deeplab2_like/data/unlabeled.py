# SPDX-License-Identifier: Apache-2.0
"""The input pipeline of images without labels.

Each image comes twice on its canvas, as it is and with other colors, with the
random numbers that the training step needs to make a view of it. Order and
random numbers follow from (seed, number of the example) alone, in any mode.
"""

import dataclasses
import os

import numpy as np
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import (
    augmentation,
    preprocessing,
    sources,
    unlabeled_files,
)
from deeplab2_like.data import blur as blur_lib
from deeplab2_like.data import color_jitter as color_jitter_lib
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.data.records import images as record_images
from deeplab2_like.graph import checks
from deeplab2_like.storage import image_files

_AUTOTUNE = tf.data.AUTOTUNE
# Streams of random numbers; examples with labels use lower ones.
_PLACE_STREAM, _COLOR_STREAM, _VIEW_STREAM, _STEP_STREAM = 32, 33, 34, 35
_ORDER_STREAM = 36
# Those of jitter, grey and blur.
_COLOR_DRAWS = (color_jitter_lib.NUM_DRAWS, 1, blur_lib.NUM_DRAWS)
_VOID = 1
_IS_FILE = -1  # In place of the byte at which a record begins.


@dataclasses.dataclass(frozen=True)
class ColorRules:
    """How colors change.

    Attributes:
        color_jitter: Brightness, contrast, saturation and hue.
        gray_probability: Share of the images without colors.
        blur: How images are blurred.
    """

    color_jitter: color_jitter_lib.ColorJitter
    gray_probability: float
    blur: blur_lib.Blur


@dataclasses.dataclass(frozen=True)
class Reading:
    """The order and the random numbers of training.

    Attributes:
        seed: Seed of all random numbers, below 2**31.
        start_step: The step of the first batch, from 0.
        view_draws: Random numbers that the training step uses for a view.
    """

    seed: int
    start_step: int
    view_draws: int


def _make_seed(seed: int, number: tf.Tensor, stream: int) -> tf.Tensor:
    """Makes the seed of an example, int64 [2]."""
    return tf.stack([tf.constant(seed + (stream << 32), tf.int64), number])


def _draw(seed: int, number: tf.Tensor, count: int, stream: int) -> tf.Tensor:
    """Draws float32 [count] in [0, 1)."""
    return tf.random.stateless_uniform(
        [count], seed=_make_seed(seed, number, stream), alg="philox"
    )


def _make_order(
    total: int, share: sources.Share, reading: Reading
) -> tf.data.Dataset:
    """Makes the endless data set of (index of an image, number).

    Each epoch is a permutation of all images, as in
    `sources.make_indexed_source`.
    """
    start = reading.start_step * share.global_batch + share.first

    def list_epoch(epoch: tf.Tensor) -> tf.data.Dataset:
        order = tf.random.experimental.stateless_shuffle(
            tf.range(total, dtype=tf.int64),
            seed=_make_seed(reading.seed, epoch, _ORDER_STREAM),
            alg="philox",
        )
        numbers = tf.range(
            tf.maximum(epoch * total, start), epoch * total + total
        )
        place = (numbers - share.first) % share.global_batch
        numbers = tf.boolean_mask(numbers, place < share.per_step)
        return tf.data.Dataset.from_tensor_slices(
            (tf.gather(order, numbers % total), numbers)
        )

    epochs = tf.data.Dataset.counter(start=start // total)
    return epochs.flat_map(list_epoch)


def _list_places(
    files: unlabeled_files.UnlabeledFiles,
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Lists paths; for each image its path's index, and where it begins."""
    if files.images:
        count = len(files.images)
        return files.images, np.arange(count), np.full(count, _IS_FILE)
    scanned = record_files.scan_files(files.records)
    counts = [len(file.offsets) for file in scanned]
    return (
        files.records,
        np.repeat(np.arange(len(scanned)), counts),
        np.concatenate([file.offsets for file in scanned]),
    )


def _load_record(
    path: tf.Tensor, offset: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns image, uint8 [H, W, 3], and name of a record."""
    parsed = record_features.parse_example(sources.read_record(path, offset))
    name = parsed["name"]
    image = record_images.decode_image(
        parsed["image"], name, allows_damage=True
    )
    is_good = checks.check(
        tf.size(image) > 0,
        lambda: checks.sentence(
            "Image '",
            name,
            "' of semi_supervised.unlabeled_pattern is damaged or incomplete"
            " and cannot be decoded. Write its record again, or leave it out.",
        ),
    )
    with checks.after(is_good):
        return tf.identity(image), name


def _load_file(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns image, uint8 [H, W, 3], upright, and path of an image file."""

    def load(path: bytes) -> tuple[np.ndarray, bytes]:
        try:
            image = image_files.load_image(
                os.fsdecode(path), warn=lambda _: None
            )
        except errors.DataError as error:
            # Names of files may have bytes that are no text.
            text = str(error).encode("utf-8", "backslashreplace")
            return np.zeros([0, 0, 3], np.uint8), text
        return image, b""

    image, problem = tf.numpy_function(
        load, [path], (tf.uint8, tf.string), stateful=False
    )
    is_good = checks.check(
        tf.strings.length(problem) == 0,
        lambda: checks.sentence(
            tf.ensure_shape(problem, []),
            " It is an image of semi_supervised.unlabeled_pattern, which may"
            " leave it out.",
        ),
    )
    with checks.after(is_good):
        return tf.ensure_shape(image, [None, None, 3]), path


def _draw_places(seed: int, number: tf.Tensor) -> tf.Tensor:
    """Draws `preprocessing.Draws.place` of an image that is not mirrored."""
    drawn = _draw(seed, number, augmentation.NUM_DRAWS, _PLACE_STREAM)
    return tf.concat([drawn, [1.0]], 0)


def _make_canvases(
    image_hwc: tf.Tensor,
    options: preprocessing.Preprocessing,
    colors: ColorRules,
    place: tf.Tensor,
    color_draws: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Makes the canvas of an image, with its own and with other colors."""
    plain = preprocessing.Preprocessing(
        crop_size=options.crop_size,
        input_scale_factor=options.input_scale_factor,
        min_resize=options.min_resize,
        max_resize=options.max_resize,
        resize_factor=options.resize_factor,
        padding_mode=options.padding_mode,
        padding_color=options.padding_color,
    )
    recolored = dataclasses.replace(
        plain,
        color_jitter=colors.color_jitter,
        gray_probability=colors.gray_probability,
        blur=colors.blur,
    )
    jitter, gray, blurring = tf.split(color_draws, _COLOR_DRAWS)
    label_hw = tf.zeros(tf.shape(image_hwc)[:2], tf.int32)
    canvas, padded = preprocessing.augment_example(
        image_hwc, label_hw, preprocessing.Draws(place), plain, _VOID
    )
    changed, _ = preprocessing.augment_example(
        image_hwc,
        label_hw,
        preprocessing.Draws(place, colors=jitter, gray=gray, blur=blurring),
        recolored,
        _VOID,
    )
    return {"image": canvas, "recolored": changed, "valid": padded != _VOID}


def make_unlabeled_dataset(
    files: unlabeled_files.UnlabeledFiles,
    options: preprocessing.Preprocessing,
    colors: ColorRules,
    reading: Reading,
    *,
    batch_size: int,
    input_context: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Makes the endless data set of batches of images without labels.

    Images are resized and padded as those with labels, and cropped anywhere
    where they are larger than the canvas. They are not scaled at random,
    mirrored or turned.

    Args:
        files: The files.
        options: Options of preprocessing; their random changes are not made.
        colors: How the colors of the second canvas change.
        reading: Order and random numbers.
        batch_size: Images of a step over all replicas.
        input_context: See `pipeline.make_training_dataset`.

    Returns:
        Batches of "image" and "recolored", float32 [B, H, W, 3] in 0..255;
        "valid", bool [B, H, W], false for padding; "name", string [B];
        "draws", float32 [B, view_draws] in [0, 1); "seed", int64 [B, 2].

    Raises:
        errors.DataError: The files are damaged or contain no record.
    """
    paths, path_ids, offsets = _list_places(files)
    seed = reading.seed

    @tf.autograph.experimental.do_not_convert
    def make_example(
        index: tf.Tensor, number: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        path = tf.gather(
            tf.constant([*map(os.fsencode, paths)]), tf.gather(path_ids, index)
        )
        if files.images:
            image, name = _load_file(path)
        else:
            image, name = _load_record(path, tf.gather(offsets, index))
        canvases = _make_canvases(
            image,
            options,
            colors,
            _draw_places(seed, number),
            _draw(seed, number, sum(_COLOR_DRAWS), _COLOR_STREAM),
        )
        return canvases | {
            "name": name,
            "draws": _draw(seed, number, reading.view_draws, _VIEW_STREAM),
            "seed": _make_seed(seed, number, _STEP_STREAM),
        }

    share = sources.compute_share(batch_size, input_context)
    data = _make_order(len(offsets), share, reading)
    data = data.map(
        make_example, num_parallel_calls=_AUTOTUNE, deterministic=True
    )
    return data.batch(share.batch, drop_remainder=True).prefetch(_AUTOTUNE)
