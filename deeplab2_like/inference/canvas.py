# SPDX-License-Identifier: Apache-2.0
"""Places images of any size on the network's canvas, and restores maps.

The canvas is made by the same function as in evaluation, so that exported
models predict the same.
"""

import dataclasses

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.config import sizes
from deeplab2_like.data import build as data_build
from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.protos import config_pb2

CONFIG = "config"
FIT = "fit"


def build_preprocessing(
    options: config_pb2.ExperimentOptions, canvas: str, output_stride: int
) -> preprocessing_lib.Preprocessing:
    """Builds the options of preprocessing of exported and live models.

    Args:
        options: The config of the run.
        canvas: "config": the canvas of the evaluation of the run. "fit": the
            same resizing, then the smallest canvas that contains the image.
            "H,W": the same resizing, but all images on one canvas of this
            size, reduced if they are larger.
        output_stride: Output stride of the system.

    Raises:
        ConfigError: `canvas` is none of these or no legal size, or the config
            has no `crop_size`.
    """
    data = options.eval_dataset_options
    if not data.crop_size:
        data = options.train_dataset_options
    if not data.crop_size:
        raise errors.ConfigError(
            "The config has neither eval_dataset_options.crop_size nor "
            "train_dataset_options.crop_size, so that there is no canvas. Set "
            "one of them."
        )
    preprocessing = data_build.build_preprocessing(data)
    if canvas == CONFIG:
        preprocessing.check_evaluation()
        return preprocessing
    if canvas == FIT:
        smallest = sizes.legal_canvas(
            1, output_stride, preprocessing.canvas_remainder
        )
        return dataclasses.replace(
            preprocessing,
            crop_size=(smallest, smallest),
            pad_to_multiple_of=output_stride,
        )
    size = _parse_size(canvas, output_stride, preprocessing.canvas_remainder)
    limit = preprocessing.max_resize or size
    return dataclasses.replace(
        preprocessing,
        crop_size=size,
        pad_to_multiple_of=0,
        max_resize=(min(limit[0], size[0]), min(limit[1], size[1])),
    )


def _parse_size(
    text: str, output_stride: int, remainder: int
) -> tuple[int, int]:
    try:
        height, width = (int(side) for side in text.split(","))
    except ValueError:
        raise errors.ConfigError(
            f"--canvas_size={text} is not a size. Allowed are {CONFIG}, {FIT} "
            "and height,width such as 513,1025; several sizes are written "
            "513x1025,1025x2049."
        ) from None
    for side in (height, width):
        if not sizes.is_legal_canvas(side, output_stride, remainder):
            near = sizes.nearest_legal_canvases(
                max(side, 1), output_stride, remainder
            )
            listed = " or ".join(str(legal) for legal in near)
            raise errors.ConfigError(
                f"--canvas_size={text} has a side of {side} pixels. Sides must "
                f"be {sizes.describe_legal(output_stride, remainder)} "
                f"(output_stride {output_stride}): "
                f"take {listed}."
            )
    return height, width


def static_size(
    preprocessing: preprocessing_lib.Preprocessing,
) -> tuple[int, int] | None:
    """Returns the canvas of all images; None where it depends on the image."""
    if preprocessing.pad_to_multiple_of:
        return None
    return preprocessing.crop_size


def place_images(
    images_bhwc: tf.Tensor, preprocessing: preprocessing_lib.Preprocessing
) -> tuple[tf.Tensor, tf.Tensor]:
    """Places each image on its canvas.

    Args:
        images_bhwc: uint8 [B, h, w, 3].
        preprocessing: Options of preprocessing.

    Returns:
        float32 [B, H, W, 3] in 0..255, and int32 [B, 2], height and width of
        the image at the top left of its canvas.
    """

    def place(image_hwc: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        no_label = tf.zeros(tf.shape(image_hwc)[:2], tf.int32)
        canvas, _, valid_size = preprocessing_lib.make_evaluation_canvas(
            image_hwc, no_label, preprocessing, void=0
        )
        return canvas, valid_size

    height, width = static_size(preprocessing) or (None, None)
    return tf.map_fn(
        place,
        images_bhwc,
        fn_output_signature=(
            tf.TensorSpec([height, width, 3], tf.float32),
            tf.TensorSpec([2], tf.int32),
        ),
    )


def restore_map(
    map_bhw: tf.Tensor, valid_size: tf.Tensor, size: tf.Tensor
) -> tf.Tensor:
    """Crops the padding and resizes to the size of the images.

    The same as `original_size.resize_nearest`, which the evaluation uses.

    Args:
        map_bhw: [B, H, W], maps of the canvas, any dtype.
        valid_size: int32 [2], height and width of the images on the canvas.
        size: int32 [2], height and width of the images.

    Returns:
        [B, height, width], the same dtype.
    """

    def resize() -> tf.Tensor:
        rows = _nearest(valid_size[0], size[0])
        columns = _nearest(valid_size[1], size[1])
        return tf.gather(tf.gather(map_bhw, rows, axis=1), columns, axis=2)

    return tf.cond(
        tf.reduce_all(valid_size == size),
        lambda: map_bhw[:, : size[0], : size[1]],
        resize,
    )


def _nearest(source: tf.Tensor, target: tf.Tensor) -> tf.Tensor:
    """Returns for each of `target` pixels the nearest of `source`: [target]."""
    source, target = tf.cast(source, tf.int64), tf.cast(target, tf.int64)
    distance = tf.maximum(target - 1, 1)
    return (2 * tf.range(target) * (source - 1) + distance) // (2 * distance)
