# SPDX-License-Identifier: Apache-2.0
"""Preprocessing of an image between the record and the network.

`Preprocessing` contains the options. In training `augment_example` applies
them with the random numbers of `Draws`, in evaluation `make_evaluation_canvas`.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import augmentation, autoaugment, scales
from deeplab2_like.data import blur as blur_lib
from deeplab2_like.data import color_jitter as color_jitter_lib
from deeplab2_like.data import copy_paste as copy_paste_lib
from deeplab2_like.data import rotation as rotation_lib


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Options of preprocessing; sizes are (height, width) in pixels.

    The fields are those of `DatasetOptions` in protos/dataset.proto.

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
        scale_area_bias: Which scales are drawn more often; see
            `scales.Scales`.
        rotation: How images are turned in training.
        pad_to_multiple_of: If m > 0, images larger than `crop_size` have a
            canvas with sides of m * k + canvas_remainder in evaluation.
        canvas_remainder: 1 or 0.
        padding_mode: Values of the canvas outside the image, "CONSTANT" or
            "REFLECT"; see `augmentation.place_on_canvas`.
        color_jitter: How much the colors change at random in training.
        copy_paste: What is pasted from one training crop onto another.
        gray_probability: Share of the images without colors in training.
        blur: How images are blurred in training.
        padding_color: RGB values of "CONSTANT" in 0..255.
        autoaugment_policy_name: Policy of `autoaugment` in training; "" for
            none.
    """

    crop_size: tuple[int, int]
    input_scale_factor: float = 1.0
    min_resize: tuple[int, int] | None = None
    max_resize: tuple[int, int] | None = None
    resize_factor: int | None = None
    min_scale: float = 1.0
    max_scale: float = 1.0
    scale_step: float = 0.25
    scale_area_bias: float = 0.0
    rotation: rotation_lib.Rotation = dataclasses.field(
        default_factory=rotation_lib.Rotation
    )
    pad_to_multiple_of: int = 0
    canvas_remainder: int = 1
    padding_mode: str = augmentation.CONSTANT
    color_jitter: color_jitter_lib.ColorJitter = dataclasses.field(
        default_factory=color_jitter_lib.ColorJitter
    )
    copy_paste: copy_paste_lib.CopyPaste = dataclasses.field(
        default_factory=copy_paste_lib.CopyPaste
    )
    gray_probability: float = 0.0
    blur: blur_lib.Blur = dataclasses.field(default_factory=blur_lib.Blur)
    padding_color: tuple[float, float, float] = augmentation.PADDING_COLOR
    autoaugment_policy_name: str = ""

    def check_training(self) -> None:
        """Raises `errors.ConfigError` where training is not possible."""
        if self.autoaugment_policy_name:
            autoaugment.load_policy(self.autoaugment_policy_name)

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


@dataclasses.dataclass(frozen=True)
class Draws:
    """The random numbers of a training example, in [0, 1).

    What has none is left out.

    Attributes:
        place: float32 [1 + augmentation.NUM_DRAWS], the scale and the place.
        colors: float32 [color_jitter.NUM_DRAWS].
        policy: float32 [autoaugment.NUM_DRAWS].
        rotation: float32 [rotation.NUM_DRAWS].
        gray: float32 [1].
        blur: float32 [blur.NUM_DRAWS].
    """

    place: tf.Tensor
    colors: tf.Tensor | None = None
    policy: tf.Tensor | None = None
    rotation: tf.Tensor | None = None
    gray: tf.Tensor | None = None
    blur: tf.Tensor | None = None


def _make_recolor(
    draws: Draws, options: Preprocessing
) -> Callable[[tf.Tensor], tf.Tensor] | None:
    """Makes the function that changes colors after the crop, if any does."""
    steps: list[Callable[[tf.Tensor], tf.Tensor]] = []
    if draws.policy is not None and options.autoaugment_policy_name:
        # deeplab2 cuts fractions off with any policy, drawn or not.
        steps.append(tf.floor)
    if draws.colors is not None and options.color_jitter.is_active:
        steps.append(
            lambda image: color_jitter_lib.change_colors(
                image, draws.colors, options.color_jitter
            )
        )
    if draws.gray is not None and options.gray_probability:
        gray = draws.gray[0]
        steps.append(
            lambda image: color_jitter_lib.turn_gray(
                image, gray, options.gray_probability
            )
        )
    if draws.blur is not None and options.blur.is_active:
        steps.append(
            lambda image: blur_lib.blur_at_random(
                image, draws.blur, options.blur
            )
        )
    if not steps:
        return None

    def recolor(image: tf.Tensor) -> tf.Tensor:
        for step in steps:
            image = step(image)
        return image

    return recolor


def augment_example(
    image_hwc: tf.Tensor,
    panoptic_hw: tf.Tensor,
    draws: Draws,
    options: Preprocessing,
    void: int,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes the training canvas of an image.

    An AutoAugment policy changes the whole scaled image, as in deeplab2. Other
    colors change after cropping, before padding, whose color stays: jitter,
    grey, blur.

    Args:
        image_hwc: uint8 [h, w, 3].
        panoptic_hw: int32 [h, w].
        draws: The random numbers.
        options: Options of preprocessing.
        void: Label of padding.

    Returns:
        float32 [H, W, 3] image in 0..255 and int32 [H, W] panoptic label.
    """
    size = _compute_input_size(tf.shape(panoptic_hw), options)
    if options.min_resize or options.max_resize:
        size = augmentation.compute_range_size(
            size, options.min_resize, options.max_resize, options.resize_factor
        )
    scale = scales.draw_scale(
        draws.place[0],
        scales.Scales(
            options.min_scale,
            options.max_scale,
            options.scale_step,
            options.scale_area_bias,
        ),
    )
    size = augmentation.compute_scaled_size(size, scale)
    placement = augmentation.draw_placement(
        draws.place[1:], size, options.crop_size
    )
    if draws.policy is not None and options.autoaugment_policy_name:
        policy = autoaugment.load_policy(options.autoaugment_policy_name)
        image_hwc = autoaugment.apply(image_hwc, size, draws.policy, policy)
    recolor = _make_recolor(draws, options)

    def place() -> tuple[tf.Tensor, tf.Tensor]:
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

    if draws.rotation is None or not options.rotation.is_active:
        return place()
    is_constant = options.padding_mode == augmentation.CONSTANT
    angle = rotation_lib.draw_angle(draws.rotation[1], options.rotation)
    return tf.cond(
        draws.rotation[0] < options.rotation.probability,
        lambda: rotation_lib.rotate_on_canvas(
            image_hwc,
            panoptic_hw,
            placement,
            angle,
            options.crop_size,
            void=void,
            padding_color=options.padding_color if is_constant else None,
            recolor=recolor,
        ),
        place,
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
