# SPDX-License-Identifier: Apache-2.0
"""The module that is saved, from images of any size to segments."""

import dataclasses
from collections.abc import Sequence

import keras
import tensorflow as tf

from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.exports import (
    byte_guard,
    compact,
    half_weights,
    overlay,
    rows,
    signatures,
)
from deeplab2_like.graph import checks
from deeplab2_like.inference import any_size, buckets
from deeplab2_like.meta_architectures import contract

_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")

Functions = dict[str, tf.types.experimental.PolymorphicFunction]


@dataclasses.dataclass(frozen=True)
class ServingOptions:
    """Which signatures a module has, and how they are computed.

    Attributes:
        max_pixels: Most pixels of a request, all its images together.
        jit_compile: Whether XLA compiles the post-processing, once for each
            size of the canvas.
        has_xla_twins: Whether there is a compiled twin of each signature too,
            whose name ends in "_xla". Not together with `jit_compile`.
        has_compact: Whether there is the signature with small answers.
        has_overlay: Whether there is the signature with pictures.
        weights: Type in which weights are stored, see `half_weights`.
        has_tile_function: Whether there is `ServingModule.infer_tile`.
    """

    max_pixels: int
    jit_compile: bool = False
    has_xla_twins: bool = False
    has_compact: bool = True
    has_overlay: bool = False
    weights: str = half_weights.FLOAT32
    has_tile_function: bool = False


class ServingModule(tf.Module):
    """A model with preprocessing and post-processing, in evaluation mode.

    Only raw variables and functions are attributes, so that the saved module
    needs neither Keras nor this package.

    Outputs for B images of H rows and W columns, S rows of the table:
        panoptic: int32 [B, H, W], category * label_divisor + instance; void
            is ignore_label * label_divisor. Absent where there are no
            instances.
        semantic: int32 [B, H, W], the most probable class.
        segment_id: int32 [B, S], value in `panoptic`.
        segment_category: int32 [B, S].
        segment_score: float32 [B, S], 0 or more; see `Prediction`.
        segment_area: int32 [B, S], pixels.
        segment_is_valid: bool [B, S], which rows are segments; the others
            are 0.

    Outputs of the compact signature for B files, each on its own:
        panoptic_png_bytes: string [B], a PNG of the size of the upright
            image; R + 256 G + 65536 B is the id of a segment, 0 void.
        num_segments: int32 [B], how many of the S rows are segments: the
            first ones. The others are 0.
        segment_id: int32 [B, S], 1 to num_segments.
        segment_category_id: int32 [B, S], id of the class in the data set.
        segment_isthing: bool [B, S], whether the segment is one object.
        segment_score: float32 [B, S], 0 or more; see `Prediction`.
        segment_area: int32 [B, S], pixels.
        height, width: int32 [B], size of the upright image.
        error: string [B], what is wrong with the file, one sentence; empty
            where it was used. With an error all other outputs are 0 or empty.

    Outputs of the overlay signature for B files, each on its own:
        overlay_png_bytes: string [B], a PNG of the upright image with its
            segments in colors.
        error: As of the compact signature.

    Attributes:
        functions: The functions by the names of their signatures.
        infer_tile: Function from canvases, float32 [B, H, W, 3] in 0..255, to
            the outputs of the network, for tiles of images larger than memory.
            It is no signature, so that no server offers it. Not always there.
    """

    def __init__(
        self,
        system: contract.MetaArchitecture,
        model: keras.Model,
        preprocessings: Sequence[preprocessing_lib.Preprocessing],
        options: ServingOptions,
    ):
        """Makes the functions of the signatures.

        Args:
            system: System of the model, with its post-processing.
            model: The model that `system` built, with its weights.
            preprocessings: Options of preprocessing for each size of canvas,
                the smallest first; see `buckets.choose`.
            options: Which signatures there are.
        """
        super().__init__()
        stored = half_weights.StoredWeights(model, options.weights)
        self.raw_variables = stored.variables
        self.functions: Functions = {}
        for is_twin in (False, True)[: 1 + options.has_xla_twins]:
            # One function of the network for all signatures of a kind.
            made = buckets.make(
                system,
                model,
                preprocessings,
                options.jit_compile or is_twin,
                scope=stored.restored,
            )
            for name, function in _make_functions(system, made, options):
                self.functions[signatures.name(name, is_twin=is_twin)] = (
                    function
                )
        if options.has_tile_function:
            self.infer_tile = any_size.make_infer(
                system, model, scope=stored.restored
            )

    def save(self, directory: str) -> None:
        """Writes the SavedModel."""
        tf.saved_model.save(self, directory, signatures=dict(self.functions))


def _make_functions(
    system: contract.MetaArchitecture,
    made: Sequence[buckets.Bucket],
    options: ServingOptions,
) -> list[tuple[str, tf.types.experimental.PolymorphicFunction]]:
    """Makes the functions of the signatures of one kind, by name."""
    max_pixels = options.max_pixels
    predict = buckets.make_predict(system, made)

    @tf.function(input_signature=[any_size.IMAGES], autograph=False)
    def serve_images(images: tf.Tensor) -> dict[str, tf.Tensor]:
        shape = tf.shape(images)
        allowed = byte_guard.check_size(shape[0], shape[1:3], max_pixels)
        with checks.after(allowed):
            return predict(tf.identity(images))

    @tf.function(input_signature=[_BYTES], autograph=False)
    def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return predict(byte_guard.decode_images(image_bytes, max_pixels))

    functions = [
        (signatures.IMAGES, serve_images),
        (signatures.BYTES, serve_bytes),
    ]
    makers = (
        (options.has_compact, signatures.COMPACT, compact.make_answer),
        (options.has_overlay, signatures.OVERLAY, overlay.make_answer),
    )
    for is_wanted, name, make_answer in makers:
        if is_wanted:
            answer = make_answer(system.descriptor, rows.count_table_rows(made))
            serve = rows.FileRows(system, made, max_pixels, answer).serve
            function = tf.function(
                serve, input_signature=[_BYTES], autograph=False
            )
            functions.append((name, function))
    return functions
