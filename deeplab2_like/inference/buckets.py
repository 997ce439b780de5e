# SPDX-License-Identifier: Apache-2.0
"""Several sizes of canvas in one model; each image has one of them.

The rule: an image is placed on the canvas on which it is reduced least, and
among equal ones on the smallest. So it is the smallest one that holds the image
where one does, and a large image in portrait goes to a canvas in portrait.
"""

import contextlib
import dataclasses
import math
import re
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.inference import any_size
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.meta_architectures import contract
from deeplab2_like.protos import config_pb2

# Each of them has a copy of the network's graph.
MAX_BUCKETS = 8
_SIZE = re.compile(r"\s*(\d{1,6})\s*[xX]\s*(\d{1,6})\s*")


@dataclasses.dataclass(frozen=True)
class Bucket:
    """A size of canvas, and the network on it.

    Attributes:
        preprocessing: Options that place images on the canvas.
        segment: The function that `any_size.make_segment` made.
    """

    preprocessing: preprocessing_lib.Preprocessing
    segment: tf.types.experimental.PolymorphicFunction

    @property
    def size(self) -> tuple[int, int] | None:
        """Height and width of the canvas; None where the image decides."""
        return canvas_lib.static_size(self.preprocessing)


def build_preprocessings(
    options: config_pb2.ExperimentOptions, canvas: str, output_stride: int
) -> tuple[preprocessing_lib.Preprocessing, ...]:
    """Builds the options of preprocessing for each size of canvas.

    Args:
        options: The config of the run.
        canvas: One canvas as `canvas.build_preprocessing` takes it; or several
            sizes, "HxW,HxW", such as "513x1025,1025x2049".
        output_stride: Output stride of the system.

    Returns:
        One, or one for each size, the smallest first.

    Raises:
        ConfigError: `canvas` is none of these or has no legal size, or the
            config has no `crop_size`.
    """
    if "x" not in canvas.lower():
        return (canvas_lib.build_preprocessing(options, canvas, output_stride),)
    sizes = [_parse(part, canvas) for part in canvas.split(",")]
    if len({*sizes}) < len(sizes):
        raise errors.ConfigError(
            f"--canvas_size={canvas} has a size twice. Give each once."
        )
    if len(sizes) > MAX_BUCKETS:
        raise errors.ConfigError(
            f"--canvas_size={canvas} has {len(sizes)} sizes. Allowed are 1 to "
            f"{MAX_BUCKETS}: each has a copy of the network's graph."
        )
    sizes.sort(key=lambda size: (math.prod(size), size))
    return tuple(
        canvas_lib.build_preprocessing(options, f"{h},{w}", output_stride)
        for h, w in sizes
    )


def _parse(text: str, canvas: str) -> tuple[int, int]:
    found = _SIZE.fullmatch(text)
    if found is None:
        raise errors.ConfigError(
            f"--canvas_size={canvas} has {text!r}, which is not a size. Give "
            "sizes as HEIGHTxWIDTH with commas between, such as "
            "513x1025,1025x2049."
        )
    return int(found[1]), int(found[2])


def make(
    system: contract.MetaArchitecture,
    model: keras.Model,
    preprocessings: Sequence[preprocessing_lib.Preprocessing],
    jit_compile: bool,
    *,
    scope: any_size.Scope = contextlib.nullcontext,
) -> tuple[Bucket, ...]:
    """Makes the functions of the network on each canvas.

    Args:
        system: The system.
        model: The model that `system` built.
        preprocessings: Options of preprocessing for each canvas.
        jit_compile: Whether XLA compiles the post-processing, once for each
            canvas.
        scope: See `any_size.make_segment`.
    """
    return tuple(
        Bucket(
            preprocessing,
            any_size.make_segment(
                system, model, preprocessing, jit_compile, scope=scope
            ),
        )
        for preprocessing in preprocessings
    )


def choose(
    size: tf.Tensor,
    preprocessings: Sequence[preprocessing_lib.Preprocessing],
) -> tf.Tensor:
    """Chooses the canvas of an image, by the rule of this module.

    Args:
        size: int32 [2], height and width of the image.
        preprocessings: Options for each canvas, the smallest first.

    Returns:
        int32 scalar, the index.
    """
    if len(preprocessings) == 1:
        return tf.constant(0)
    # At its own size on the canvas an image is largest where it is reduced
    # least.
    areas = tf.stack(
        [
            tf.reduce_prod(
                tf.cast(
                    preprocessing_lib.compute_evaluation_size(size, options),
                    tf.int64,
                )
            )
            for options in preprocessings
        ]
    )
    is_best = areas == tf.reduce_max(areas)
    return tf.cast(tf.where(is_best)[0, 0], tf.int32)


def make_predict(
    system: contract.MetaArchitecture, made: Sequence[Bucket]
) -> tf.types.experimental.PolymorphicFunction:
    """Makes the function from images to the outputs of `ServingModule`.

    Args:
        system: The system.
        made: Results of `make`, the smallest canvas first.

    Returns:
        Function of images, uint8 [B, H, W, 3], all of one size.
    """
    functions = [
        any_size.make_predict(system, bucket.segment, bucket.preprocessing)
        for bucket in made
    ]
    if len(functions) == 1:
        return functions[0]
    preprocessings = [bucket.preprocessing for bucket in made]

    @tf.function(input_signature=[any_size.IMAGES], autograph=False)
    def predict(images: tf.Tensor) -> dict[str, tf.Tensor]:
        def run(
            function: tf.types.experimental.PolymorphicFunction,
        ) -> Callable[[], dict[str, tf.Tensor]]:
            return lambda: function(images)

        return tf.switch_case(
            choose(tf.shape(images)[1:3], preprocessings),
            [run(function) for function in functions],
        )

    return predict
