# SPDX-License-Identifier: Apache-2.0
"""The module that is saved, from images of any size to segments."""

import keras
import tensorflow as tf

from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.exports import byte_guard, compact
from deeplab2_like.graph import checks
from deeplab2_like.inference import any_size
from deeplab2_like.meta_architectures import contract

IMAGES_SIGNATURE = "serving_default"
BYTES_SIGNATURE = "encoded"
COMPACT_SIGNATURE = "encoded_compact"
_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")


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
        segment_score: float32 [B, S] in 0..1.
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
        segment_score: float32 [B, S] in 0..1.
        segment_area: int32 [B, S], pixels.
        height, width: int32 [B], size of the upright image.
        error: string [B], what is wrong with the file, one sentence; empty
            where it was used. With an error all other outputs are 0 or empty.
    """

    def __init__(
        self,
        system: contract.MetaArchitecture,
        model: keras.Model,
        preprocessing: preprocessing_lib.Preprocessing,
        *,
        max_pixels: int,
        jit_compile: bool,
        has_compact: bool = True,
    ):
        """Makes the functions of the signatures.

        Args:
            system: System of the model, with its post-processing.
            model: The model that `system` built, with its weights.
            preprocessing: Options of preprocessing.
            max_pixels: Most pixels of a request, all its images together.
            jit_compile: Whether XLA compiles the post-processing, once for
                each size of the canvas.
            has_compact: Whether there is the compact signature.
        """
        super().__init__()
        # Session loaders restore only what is tracked as a plain variable.
        self.raw_variables = [v.value for v in model.variables]
        # One function, so that the signatures share one copy of the network.
        segment = any_size.make_segment(
            system, model, preprocessing, jit_compile
        )
        predict = any_size.make_predict(system, segment, preprocessing)

        @tf.function(input_signature=[any_size.IMAGES], autograph=False)
        def serve_images(images: tf.Tensor) -> dict[str, tf.Tensor]:
            shape = tf.shape(images)
            allowed = byte_guard.check_size(shape[0], shape[1:3], max_pixels)
            with checks.after(allowed):
                return predict(tf.identity(images))

        @tf.function(input_signature=[_BYTES], autograph=False)
        def serve_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
            return predict(byte_guard.decode_images(image_bytes, max_pixels))

        self.serve_images = serve_images
        self.serve_bytes = serve_bytes
        self.serve_compact = None
        if has_compact:
            answers = compact.CompactAnswers(
                system, segment, preprocessing, max_pixels
            )
            self.serve_compact = tf.function(
                answers.serve,
                input_signature=[_BYTES],
                autograph=False,
            )

    def save(self, directory: str) -> None:
        """Writes the SavedModel."""
        signatures = {
            IMAGES_SIGNATURE: self.serve_images,
            BYTES_SIGNATURE: self.serve_bytes,
        }
        if self.serve_compact is not None:
            signatures[COMPACT_SIGNATURE] = self.serve_compact
        tf.saved_model.save(self, directory, signatures=signatures)
