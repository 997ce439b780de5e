# SPDX-License-Identifier: Apache-2.0
"""Preprocessing of an image between the record and the network.

`Preprocessing` contains the options, `augment_example` applies them in
training, `make_evaluation_canvas` in evaluation.
"""

import dataclasses

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import augmentation
from deeplab2_like.data import color_jitter as color_jitter_lib
from deeplab2_like.data import copy_paste as copy_paste_lib


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Options of preprocessing; sizes are (height, width) in pixels.

    The fields are those of `DatasetOptions` in protos/dataset.proto, in the
    order in which they act.

    Attributes:
        crop_size: Size of the canvas.
        input_scale_factor: Factor that every image is scaled by first.
        min_resize: Size that both sides are enlarged or reduced to reach, or
            None for no such step.
        max_resize: Size that both sides are reduced not to exceed, or None for
            no such step, in evaluation for `crop_size` where
            `pad_to_multiple_of` is 0.
        resize_factor: Sides are rounded up to k * resize_factor + 1; None: any
            size.
        min_scale: Smallest random scale in training.
        max_scale: Largest random scale in training.
        scale_step: Distance of the scales that are drawn from in training; 0:
            any scale from `min_scale` to `max_scale`.
        pad_to_multiple_of: If m > 0, images larger than `crop_size` have a
            canvas with sides of m * k + canvas_remainder in evaluation.
        canvas_remainder: 1 or 0.
        padding_mode: Values of the canvas outside the image, "CONSTANT" or
            "REFLECT"; see `augmentation.place_on_canvas`.
        color_jitter: How much the colors change at random in training.
        copy_paste: What is pasted from one training crop onto another.
        padding_color: RGB values of "CONSTANT" in 0..255.
        autoaugment_policy_name: Must be empty in training, as there are no
            policies yet.
    """

    crop_size: tuple[int, int]
    input_scale_factor: float = 1.0
    min_resize: tuple[int, int] | None = None
    max_resize: tuple[int, int] | None = None
    resize_factor: int | None = None
    min_scale: float = 1.0
    max_scale: float = 1.0
    scale_step: float = 0.25
    pad_to_multiple_of: int = 0
    canvas_remainder: int = 1
    padding_mode: str = augmentation.CONSTANT
    color_jitter: color_jitter_lib.ColorJitter = dataclasses.field(
        default_factory=color_jitter_lib.ColorJitter
    )
    copy_paste: copy_paste_lib.CopyPaste = dataclasses.field(
        default_factory=copy_paste_lib.CopyPaste
    )
    padding_color: tuple[float, float, float] = augmentation.PADDING_COLOR
    autoaugment_policy_name: str = ""

    def check_training(self) -> None:
        """Raises `errors.ConfigError` where training is not possible."""
        if self.autoaugment_policy_name:
            raise errors.ConfigError(
                "train_dataset_options.augmentations.autoaugment_policy_name is"
                f" {self.autoaugment_policy_name!r}, but this version has no"
                " AutoAugment policies. Remove the field, or clear it with"
                " --config_override, to train without."
            )

    def check_evaluation(self) -> None:
        """Raises `errors.ConfigError` where the canvas is too small."""
        crop, limit = self.crop_size, self.max_resize
        if self.pad_to_multiple_of or limit is None:
            return
        if limit[0] > crop[0] or limit[1] > crop[1]:
            raise errors.ConfigError(
                f"eval_dataset_options.max_resize_value is {list(limit)},"
                f" larger than crop_size {list(crop)}, which has to hold the"
                " whole image. Reduce the one, enlarge the other, or set"
                " pad_to_multiple_of."
            )


def _compute_input_size(size: tf.Tensor, options: Preprocessing) -> tf.Tensor:
    if options.input_scale_factor == 1:
        return size
    return augmentation.compute_scaled_size(size, options.input_scale_factor)


def augment_example(
    image_hwc: tf.Tensor,
    panoptic_hw: tf.Tensor,
    uniform: tf.Tensor,
    options: Preprocessing,
    void: int,
    *,
    color_uniform: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes the training canvas of an image.

    Colors change after scaling and cropping, before padding, whose color stays.

    Args:
        image_hwc: uint8 [h, w, 3].
        panoptic_hw: int32 [h, w].
        uniform: float32 [augmentation.NUM_DRAWS] in [0, 1): the random draws.
        options: Options of preprocessing.
        void: Label of padding.
        color_uniform: float32 [color_jitter.NUM_DRAWS] in [0, 1), the random
            draws of the colors; None: colors stay as they are.

    Returns:
        float32 [H, W, 3] image in 0..255 and int32 [H, W] panoptic label.
    """
    size = _compute_input_size(tf.shape(panoptic_hw), options)
    if options.min_resize or options.max_resize:
        size = augmentation.compute_range_size(
            size, options.min_resize, options.max_resize, options.resize_factor
        )
    scale = augmentation.draw_scale(
        uniform[0],
        options.min_scale,
        options.max_scale,
        options.scale_step,
    )
    placement = augmentation.draw_placement(
        uniform[1:],
        augmentation.compute_scaled_size(size, scale),
        options.crop_size,
    )
    recolor = None
    if color_uniform is not None and options.color_jitter.is_active:

        def recolor(part_hwc: tf.Tensor) -> tf.Tensor:
            return color_jitter_lib.change_colors(
                part_hwc, color_uniform, options.color_jitter
            )

    return augmentation.place_on_canvas(
        image_hwc,
        panoptic_hw,
        placement,
        options.crop_size,
        void=void,
        padding_mode=options.padding_mode,
        recolor=recolor,
        padding_color=options.padding_color,
    )


def compute_evaluation_size(
    size: tf.Tensor, options: Preprocessing
) -> tf.Tensor:
    """Computes the size that an image has on its canvas in evaluation.

    Args:
        size: int32 [2], height and width of the image.
        options: Options of preprocessing.

    Returns:
        int32 [2].
    """
    limit = options.max_resize
    if limit is None and not options.pad_to_multiple_of:
        limit = options.crop_size
    return augmentation.compute_range_size(
        _compute_input_size(size, options),
        options.min_resize,
        limit,
        options.resize_factor,
    )


def make_evaluation_canvas(
    image_hwc: tf.Tensor,
    panoptic_hw: tf.Tensor,
    options: Preprocessing,
    void: int,
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Resizes an image and pads it at the bottom and on the right.

    Args:
        image_hwc: uint8 [h, w, 3].
        panoptic_hw: int32 [h, w].
        options: Options of preprocessing.
        void: Label of padding.

    Returns:
        float32 [H, W, 3] image, int32 [H, W] label, and int32 [2], the size of
        the part of the canvas that is image.
    """
    multiple = options.pad_to_multiple_of
    size = compute_evaluation_size(tf.shape(panoptic_hw), options)
    canvas = (
        augmentation.compute_canvas_size(
            size, options.crop_size, multiple, options.canvas_remainder
        )
        if multiple
        else options.crop_size
    )
    placement = augmentation.Placement(
        size, tf.constant([0, 0]), tf.constant(False)
    )
    image, panoptic = augmentation.place_on_canvas(
        image_hwc,
        panoptic_hw,
        placement,
        canvas,
        void=void,
        padding_mode=options.padding_mode,
        padding_color=options.padding_color,
    )
    return image, panoptic, size
