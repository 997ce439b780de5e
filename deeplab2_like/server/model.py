# SPDX-License-Identifier: Apache-2.0
"""Models that a server runs."""

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from deeplab2_like import errors
from deeplab2_like.exports import exported_model
from deeplab2_like.exports import signatures as exported_signatures
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.server import failures, signatures
from deeplab2_like.server.signatures import Arrays, Signature, TensorInfo


class Model(Protocol):
    """What a server needs of a model.

    Attributes:
        signatures: Its signatures by name.
        max_rows: Most rows of a call of a signature with independent rows.
        descriptor: Its classes; None where they are not known.
    """

    signatures: Mapping[str, Signature]
    max_rows: int
    descriptor: DatasetDescriptor | None

    def run(self, signature_name: str, inputs: Arrays) -> Arrays:
        """Computes the outputs.

        Args:
            signature_name: One of `signatures`.
            inputs: Inputs that fit the signature.

        Raises:
            RequestError: The model cannot use the inputs, or fails.
        """

    def warm_up(self) -> None:
        """Runs each signature once."""


class SavedModel:
    """A folder that deeplab2-export wrote; see `Model`."""

    def __init__(self, directory: str | os.PathLike[str]):
        """Loads the folder.

        Raises:
            ExportError: It is not an exported model, or is damaged.
        """
        self._info = exported_model.load_info(directory)
        import tensorflow as tf

        try:
            self._loaded = tf.saved_model.load(os.fspath(directory))
        except (tf.errors.OpError, OSError, ValueError, IndexError) as error:
            raise errors.ExportError(
                f"The SavedModel {directory} cannot be loaded "
                f"({type(error).__name__}). Copy or export it again."
            ) from error
        self.signatures: Mapping[str, Signature] = {
            name: _describe(name, function)
            for name, function in self._loaded.signatures.items()
        }
        self.descriptor = _load_descriptor(directory)
        self.max_rows = self._info.max_rows

    def run(self, signature_name: str, inputs: Arrays) -> Arrays:
        """See `Model.run`."""
        import tensorflow as tf

        from deeplab2_like.graph import checks

        tensors = {
            name: tf.constant(array.tolist(), tf.string, array.shape)
            if array.dtype == object
            else tf.constant(array)
            for name, array in inputs.items()
        }
        try:
            outputs = self._loaded.signatures[signature_name](**tensors)
        except tf.errors.ResourceExhaustedError:
            raise failures.RequestError(
                failures.Kind.BUSY,
                "The memory does not suffice for this request. Send a smaller "
                "image, or fewer.",
            ) from None
        except (tf.errors.InvalidArgumentError, UnicodeDecodeError) as error:
            sentence = checks.find_sentence(error, checks.REQUEST)
            raise failures.invalid(
                sentence
                or "The image is damaged: it cannot be decoded. Send the "
                "unchanged bytes of a JPEG or PNG file."
            ) from None
        return {name: value.numpy() for name, value in outputs.items()}

    def warm_up(self) -> None:
        """Runs each signature on a gray image for each size of canvas."""
        import tensorflow as tf

        for height, width in self._info.typical_sizes:
            pixels = np.full((height, width, 3), 128, np.uint8)
            encoded = np.array([tf.io.encode_jpeg(pixels).numpy()], object)
            for name, signature in self.signatures.items():
                inputs: dict[str, Any] = {"images": pixels[np.newaxis]}
                if "image_bytes" in signature.inputs:
                    inputs = {"image_bytes": encoded}
                self.run(name, inputs)


def _load_descriptor(
    directory: str | os.PathLike[str],
) -> DatasetDescriptor | None:
    try:
        return exported_model.load_descriptor(directory)
    except errors.ExportError:
        return None  # Only the page needs it, and does without.


def _describe(name: str, function: Any) -> Signature:
    return Signature(
        _describe_tensors(function.structured_input_signature[1]),
        _describe_tensors(function.structured_outputs),
        has_independent_rows=exported_signatures.has_independent_rows(name),
    )


def _describe_tensors(specs: Mapping[str, Any]) -> dict[str, TensorInfo]:
    return {
        name: TensorInfo(spec.dtype.name, tuple(spec.shape.as_list()))
        for name, spec in specs.items()
    }


def default_signature(known: Mapping[str, Signature]) -> Signature:
    """Returns the signature that a model's metadata describes."""
    first = next(iter(known.values()))
    return known.get(signatures.DEFAULT_SIGNATURE, first)
