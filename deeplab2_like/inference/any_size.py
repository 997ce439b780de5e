# SPDX-License-Identifier: Apache-2.0
"""A system and its network as one function of images of any size.

Exported and live models run the same function, which `make_predict` makes.
"""

import contextlib
from collections.abc import Callable

import keras
import tensorflow as tf

from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.inference import canvas
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import contract

IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
# Default of the most pixels of a request, all its images together.
DEFAULT_MAX_PIXELS = 20_000_000
# Most ids for which pixels are counted in a table of all ids.
_MAX_TABLE = 1 << 22

# Function that returns the context in which a network is traced, such as one
# that replaces its weights.
Scope = Callable[[], contextlib.AbstractContextManager[object]]


def make_segment(
    system: contract.MetaArchitecture,
    model: keras.Model,
    preprocessing: preprocessing_lib.Preprocessing,
    jit_compile: bool,
    *,
    scope: Scope = contextlib.nullcontext,
) -> tf.types.experimental.PolymorphicFunction:
    """Makes the function from canvases to predictions on them.

    Args:
        system: The system.
        model: The model that `system` built.
        preprocessing: Options of preprocessing.
        jit_compile: Whether XLA compiles the post-processing.
        scope: Context in which the network is traced.

    Returns:
        Function of canvases, float32 [B, H, W, 3] in 0..255, and of the sizes
        of the images on them, int32 [B, 2]; see `canvas.place_images`. It
        returns the fields of a `Prediction` that are not None.
    """
    postprocess = tf.function(
        system.postprocess, jit_compile=jit_compile or None, autograph=False
    )
    size = canvas.static_size(preprocessing)

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, *(size or (None, None)), 3], tf.float32),
            tf.TensorSpec([None, 2], tf.int32),
        ],
        autograph=False,
    )
    def segment(
        canvas_bhw3: tf.Tensor, valid_size_b2: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        with scope():
            outputs = system.infer(model, canvas_bhw3)
        return map_images(
            postprocess,
            outputs,
            size or tf.shape(canvas_bhw3)[1:3],
            valid_size_b2,
        )

    return segment


def make_infer(
    system: contract.MetaArchitecture,
    model: keras.Model,
    *,
    scope: Scope = contextlib.nullcontext,
) -> tf.types.experimental.PolymorphicFunction:
    """Makes the function from canvases to the outputs of the network.

    Args:
        system: The system.
        model: The model that `system` built.
        scope: See `make_segment`.

    Returns:
        Function of canvases of any legal size, float32 [B, H, W, 3] in 0..255.
    """

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None, None, 3], tf.float32, name="canvas")
        ],
        autograph=False,
    )
    def infer(canvas_bhw3: tf.Tensor) -> dict[str, tf.Tensor]:
        with scope():
            outputs = system.infer(model, canvas_bhw3)
        return {str(name): value for name, value in outputs.items()}

    return infer


def make_predict(
    system: contract.MetaArchitecture,
    segment: tf.types.experimental.PolymorphicFunction,
    preprocessing: preprocessing_lib.Preprocessing,
) -> tf.types.experimental.PolymorphicFunction:
    """Makes the function from images to the outputs of `ServingModule`.

    Args:
        system: The system.
        segment: The function that `make_segment` made.
        preprocessing: Options of preprocessing.

    Returns:
        Function of images, uint8 [B, H, W, 3], all of one size.
    """

    @tf.function(input_signature=[IMAGES], autograph=False)
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        canvas_bhwc, valid_size = canvas.place_images(images, preprocessing)
        return restore_prediction(
            segment(canvas_bhwc, valid_size),
            valid_size,
            tf.shape(images)[1:3],
            system,
        )

    return predict


def map_images(
    postprocess: tf.types.experimental.PolymorphicFunction,
    outputs: contract.Tensors,
    canvas_size: tuple[int, int] | tf.Tensor,
    valid_size_b2: tf.Tensor,
) -> dict[str, tf.Tensor]:
    """Post-processes the images of a batch one by one.

    So XLA compiles once for all sizes of batches.

    Args:
        postprocess: `MetaArchitecture.postprocess` as a `tf.function`.
        outputs: Outputs of the network for B images.
        canvas_size: See `MetaArchitecture.postprocess`.
        valid_size_b2: int32 [B, 2], height and width of each image on its
            canvas.

    Returns:
        The fields of a `Prediction` that are not None.
    """

    def process(
        image: tuple[contract.Tensors, tf.Tensor],
    ) -> dict[str, tf.Tensor]:
        maps, valid_size = tf.nest.map_structure(lambda x: x[tf.newaxis], image)
        prediction = postprocess(maps, canvas_size, valid_size)
        return {name: x[0] for name, x in prediction.as_dict().items()}

    def one(x: tf.Tensor) -> tf.TensorSpec:
        return tf.TensorSpec([1, *x.shape[1:]], x.dtype)

    outputs = dict(outputs)
    # The function that this finds is the one that the loop calls.
    function = postprocess.get_concrete_function(
        tf.nest.map_structure(one, outputs), canvas_size, one(valid_size_b2)
    )
    return tf.map_fn(
        process,
        (outputs, valid_size_b2),
        fn_output_signature={
            name: tf.TensorSpec(x.shape[1:], x.dtype)
            for name, x in function.structured_outputs.as_dict().items()
        },
    )


def restore_prediction(
    prediction: contract.Tensors,
    valid_size_b2: tf.Tensor,
    size: tf.Tensor,
    system: contract.MetaArchitecture,
) -> dict[str, tf.Tensor]:
    """Returns a prediction of the canvas at the size of the images.

    Segments without a pixel at that size are no longer valid.

    Args:
        prediction: Fields of a `Prediction` for B canvases.
        valid_size_b2: int32 [B, 2], height and width of each image on its
            canvas; all equal.
        size: int32 [2], height and width of the images.
        system: The system; its data set defines the ids.

    Returns:
        The outputs that `ServingModule` describes.
    """
    valid_size = valid_size_b2[0]
    outputs = {
        name: canvas.restore_map(prediction[name], valid_size, size)
        for name in ("semantic", "panoptic")
        if name in prediction
    }
    descriptor = system.descriptor
    divisor = descriptor.label_divisor
    # Without instances the segments are the classes.
    ids_bhw = outputs.get("panoptic", outputs["semantic"] * divisor)
    area = count_pixels(
        ids_bhw,
        prediction["segment_id"],
        count_ids(descriptor),
    )
    table = {**prediction, "segment_area": area}
    is_valid = prediction["segment_is_valid"] & (area > 0)
    for name in ("id", "category", "score", "area"):
        column = table[f"segment_{name}"]
        column = tf.where(is_valid, column, tf.zeros_like(column))
        outputs[f"segment_{name}"] = column
    outputs["segment_is_valid"] = is_valid
    return outputs


def count_ids(descriptor: descriptor_lib.DatasetDescriptor) -> int:
    """Returns one more than the largest panoptic id, that of void included."""
    num_classes = max(descriptor.num_classes, descriptor.ignore_label + 1)
    return num_classes * descriptor.label_divisor


def count_pixels(
    ids_bhw: tf.Tensor, wanted_bs: tf.Tensor, num_ids: int
) -> tf.Tensor:
    """Counts the pixels of each id.

    Args:
        ids_bhw: int32 [B, H, W] in 0..num_ids - 1.
        wanted_bs: int32 [B, S], the ids to count, in 0..num_ids - 1.
        num_ids: Number of possible ids.

    Returns:
        int32 [B, S], the counts.
    """
    ids_bn = tf.reshape(ids_bhw, [tf.shape(ids_bhw)[0], -1])
    if num_ids <= _MAX_TABLE:
        counts = tf.raw_ops.DenseBincount(
            input=ids_bn, size=num_ids, weights=tf.zeros([0], tf.int32)
        )
        return tf.gather(counts, wanted_bs, batch_dims=1)
    ordered = tf.sort(ids_bn, axis=1)
    above = tf.searchsorted(ordered, wanted_bs, side="right")
    return above - tf.searchsorted(ordered, wanted_bs, side="left")
