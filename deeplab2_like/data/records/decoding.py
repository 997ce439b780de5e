# SPDX-License-Identifier: Apache-2.0
"""Decodes records to images and panoptic labels, in the graph.

In reading order: `check_label_range`, `decode_label` and `decode_example`,
which decodes a whole record. A record that cannot be used raises an error in
the graph whose message names the image: see `graph_errors`.
"""

import functools
from collections.abc import Callable, Mapping

import tensorflow as tf

from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import images, tfds_features, tfds_labels
from deeplab2_like.graph import checks

_PNG_COLOR_TYPE_BYTE = 25


def _decode_raw_label(
    encoded: tf.Tensor, size: tf.Tensor, name: tf.Tensor
) -> tf.Tensor:
    expected = 4 * tf.reduce_prod(size)
    length = tf.strings.length(encoded)
    is_good = checks.check(
        tf.equal(length, expected),
        lambda: checks.sentence(
            "The label of image '",
            name,
            "' has ",
            length,
            " bytes but the image of (height, width) ",
            size,
            " needs ",
            expected,
            " (one int32 a pixel). Image and label must have the same size.",
        ),
    )
    with checks.after(is_good):
        return tf.reshape(tf.io.decode_raw(encoded, tf.int32), size)


def _check_png(
    encoded: tf.Tensor, name: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the check that a PNG is grey, and its bits a channel."""
    is_png = images.starts_with(encoded, images.PNG_START) & (
        tf.strings.length(encoded) > _PNG_COLOR_TYPE_BYTE
    )
    is_png = checks.check(
        is_png,
        lambda: checks.sentence(
            "The label of image '",
            name,
            "' is not a PNG although its record says so.",
        ),
    )
    with checks.after(is_png):
        bits = images.read_png_byte(encoded, images.PNG_BIT_DEPTH_BYTE)
        color_type = images.read_png_byte(encoded, _PNG_COLOR_TYPE_BYTE)
    is_grey = checks.check(
        (color_type == 0) & ((bits == 8) | (bits == 16)),
        lambda: checks.sentence(
            "The label PNG of image '",
            name,
            "' has the colour type ",
            color_type,
            " (0 grey, 2 RGB, 3 palette, 4 and 6 with alpha) and ",
            bits,
            " bits a channel. A label must be a greyscale PNG of 8 or 16 bits"
            " whose values are classes.",
        ),
    )
    return is_grey, bits


def _decode_png_label(
    encoded: tf.Tensor, name: tf.Tensor, allows_damage: bool
) -> tf.Tensor:
    is_grey, bits = _check_png(encoded, name)

    def decode_as(dtype: tf.DType) -> tf.Tensor:
        decoded = images.decode_or_empty(
            lambda data: tf.io.decode_png(data, channels=1, dtype=dtype),
            encoded,
            1,
        )
        return tf.cast(decoded, tf.int32)

    with checks.after(is_grey):
        # Decoding 16 bits as 8 would silently keep the high byte, decoding 8
        # as 16 would multiply by 257.
        label = tf.cond(
            bits == 16,
            lambda: decode_as(tf.uint16),
            lambda: decode_as(tf.uint8),
        )[:, :, 0]
    is_whole = images.check_not_empty(
        label, "The label PNG of image", name, allows_damage
    )
    with checks.after(is_whole):
        return tf.identity(label)


def _check_size(
    label: tf.Tensor, size: tf.Tensor, name: tf.Tensor
) -> tf.Tensor:
    """Returns a label of the size of its image, or one without pixels."""
    label_size = tf.shape(label)
    is_same = checks.check(
        tf.reduce_all(label_size == size) | (tf.size(label) == 0),
        lambda: checks.sentence(
            "Image '",
            name,
            "' has the (height, width) ",
            size,
            " but its label has ",
            label_size,
            ". The two must be equal.",
        ),
    )
    with checks.after(is_same):
        return tf.identity(label)


def _decode_file(
    parsed: dict[str, tf.Tensor],
    size: tf.Tensor,
    allows_damage: bool,
    rules: Mapping[str, int],
) -> tf.Tensor:
    """Decodes a label that is a PNG, of the form that its format names."""
    return _check_size(
        _decode_png_form(parsed, allows_damage, rules), size, parsed["name"]
    )


def _decode_png_form(
    parsed: dict[str, tf.Tensor], allows_damage: bool, rules: Mapping[str, int]
) -> tf.Tensor:

    def decode_classes() -> tf.Tensor:
        label = _decode_png_label(
            parsed["label"], parsed["name"], allows_damage
        )
        return label * rules["label_divisor"]

    decode: Callable[[], tf.Tensor] = decode_classes
    if tfds_features.SEGMENTS not in parsed:
        return decode()  # It is not of TensorFlow Datasets.
    label_rules = tfds_labels.LabelRules(allows_damage=allows_damage, **rules)
    for kind, decoder in (
        (tfds_features.CITYSCAPES, tfds_labels.decode_label_ids),
        (tfds_features.COCO, tfds_labels.decode_panoptic),
    ):
        decode = functools.partial(
            tf.cond,
            parsed["label_format"] == kind,
            functools.partial(decoder, parsed, label_rules),
            decode,
        )
    return decode()


def check_label_range(
    panoptic_hw: tf.Tensor,
    name: tf.Tensor,
    *,
    num_classes: int,
    ignore_label: int,
    label_divisor: int,
) -> tf.Tensor:
    """Checks that a label has allowed classes only.

    Args:
        panoptic_hw: int32 [H, W], class * label_divisor + instance.
        name: string scalar, the image in messages.
        num_classes: Classes 0 to num_classes - 1 are allowed.
        ignore_label: Class of void, which is allowed too.
        label_divisor: Divisor of the panoptic ids.

    Returns:
        `panoptic_hw`.

    Raises:
        tf.errors.InvalidArgumentError: There are other classes, which the
            message lists; see `graph_errors.as_data_error`.
    """
    limit = num_classes * label_divisor
    void = ignore_label * label_divisor
    is_class = (panoptic_hw >= 0) & (panoptic_hw < limit)
    is_void = (panoptic_hw >= void) & (panoptic_hw < void + label_divisor)
    is_allowed = is_class | is_void

    def describe() -> tf.Tensor:
        wrong = tf.boolean_mask(panoptic_hw, ~is_allowed)
        classes = tf.sort(tf.unique(wrong // label_divisor).y)
        return checks.sentence(
            "The label of image '",
            name,
            "' has the class ids ",
            classes,
            " in ",
            tf.size(wrong),
            f" pixels. Allowed are 0 to {num_classes - 1} and {ignore_label}"
            f" (ignored), with label_divisor {label_divisor}. Correct the label"
            " or the data set description.",
        )

    is_good = checks.check(tf.reduce_all(is_allowed), describe)
    with checks.after(is_good):
        return tf.identity(panoptic_hw)


def decode_label(
    parsed: dict[str, tf.Tensor],
    size: tf.Tensor,
    *,
    num_classes: int,
    ignore_label: int,
    label_divisor: int,
    is_required: bool,
    allows_damage: bool = False,
) -> tf.Tensor:
    """Decodes the label of a parsed record and checks its size and range.

    Args:
        parsed: Result of `features.parse_example`.
        size: int32 [2], (height, width) of the image.
        num_classes: See `check_label_range`.
        ignore_label: See `check_label_range`.
        label_divisor: See `check_label_range`.
        is_required: Whether a record without a label is an error; if not, its
            label is void everywhere.
        allows_damage: Whether a damaged PNG is no error but gives a label
            without pixels.

    Returns:
        int32 [H, W], class * label_divisor + instance; the instance is 0 for
        the classes of a PNG.

    Raises:
        tf.errors.InvalidArgumentError: The label is missing, damaged, of
            another size or out of range; see `graph_errors.as_data_error`.
    """
    rules = {
        "num_classes": num_classes,
        "ignore_label": ignore_label,
        "label_divisor": label_divisor,
    }
    encoded, name = parsed["label"], parsed["name"]
    is_missing = tf.strings.length(encoded) == 0
    is_present = checks.check(
        ~is_missing | (not is_required),
        lambda: checks.sentence(
            "The record of image '",
            name,
            f"' has no label (feature {record_features.LABEL!r}), so it can be"
            " neither trained on nor scored. Use the records of another split,"
            " or write them with labels.",
        ),
    )
    kind = parsed["label_format"]
    is_raw = kind == "raw"
    is_known = checks.check(
        is_missing | is_raw | (kind == "png") | tfds_features.is_kind(kind),
        lambda: checks.sentence(
            "The label of image '",
            name,
            "' has the format '",
            kind,
            "'. Known are raw (panoptic, int32) and png (classes).",
        ),
    )

    def decode() -> tf.Tensor:
        return tf.cond(
            is_raw,
            lambda: _decode_raw_label(encoded, size, name),
            lambda: _decode_file(parsed, size, allows_damage, rules),
        )

    with tf.control_dependencies([is_present, is_known]):
        label = tf.cond(
            is_missing,
            lambda: tf.fill(size, ignore_label * label_divisor),
            decode,
        )
    label = check_label_range(label, name, **rules)
    label.set_shape([None, None])
    return label


def decode_example(
    serialized: tf.Tensor,
    *,
    num_classes: int,
    ignore_label: int,
    label_divisor: int,
    is_label_required: bool = True,
    allows_damage: bool = False,
) -> dict[str, tf.Tensor]:
    """Decodes a serialized record: its image, its label and its name.

    Args:
        serialized: string scalar.
        num_classes: See `check_label_range`.
        ignore_label: See `check_label_range`.
        label_divisor: See `check_label_range`.
        is_label_required: See `decode_label`.
        allows_damage: Whether a damaged image or label is no error; image and
            label have no pixels then.

    Returns:
        "image" uint8 [H, W, 3], "panoptic" int32 [H, W], "name" string [].

    Raises:
        tf.errors.InvalidArgumentError: See `images.decode_image` and
            `decode_label`.
    """
    return decode_parsed(
        record_features.parse_example(serialized),
        num_classes=num_classes,
        ignore_label=ignore_label,
        label_divisor=label_divisor,
        is_label_required=is_label_required,
        allows_damage=allows_damage,
    )


def decode_parsed(
    parsed: dict[str, tf.Tensor],
    *,
    num_classes: int,
    ignore_label: int,
    label_divisor: int,
    is_label_required: bool = True,
    allows_damage: bool = False,
) -> dict[str, tf.Tensor]:
    """Decodes a parsed record; see `decode_example`.

    Args:
        parsed: Result of `features.parse_example` or `features.take_texts`.
        num_classes: See `check_label_range`.
        ignore_label: See `check_label_range`.
        label_divisor: See `check_label_range`.
        is_label_required: See `decode_label`.
        allows_damage: See `decode_example`.
    """
    image = images.decode_image(
        parsed["image"], parsed["name"], allows_damage=allows_damage
    )

    def decode_label_of_image() -> tf.Tensor:
        return decode_label(
            parsed,
            tf.shape(image)[:2],
            num_classes=num_classes,
            ignore_label=ignore_label,
            label_divisor=label_divisor,
            is_required=is_label_required,
            allows_damage=allows_damage,
        )

    if not allows_damage:
        panoptic = decode_label_of_image()
        return {"image": image, "panoptic": panoptic, "name": parsed["name"]}
    panoptic = tf.cond(
        tf.size(image) > 0,
        decode_label_of_image,
        lambda: tf.zeros([0, 0], tf.int32),
    )
    panoptic.set_shape([None, None])
    image = image[: tf.shape(panoptic)[0]]  # None where the label is damaged.
    return {"image": image, "panoptic": panoptic, "name": parsed["name"]}
