# SPDX-License-Identifier: Apache-2.0
"""Compares a SavedModel with the live model that it was exported from."""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.exports import agreement as agreement_lib
from deeplab2_like.exports import answers, signatures, xla_off
from deeplab2_like.exports.answers import Comparison, Expected
from deeplab2_like.inference import buckets
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.meta_architectures import contract
from deeplab2_like.postprocess.prediction import Prediction
from deeplab2_like.results import original_size
from deeplab2_like.scenes import scene

MIN_EQUAL_PIXELS = 0.9999
# One value of a network at stride 4, which may differ by rounding, is 4x4
# pixels; of small images that is a larger share.
MAX_TIPPED_PIXELS = 16

NamedImage = tuple[str, npt.NDArray[np.uint8]]
Predict = Callable[[npt.NDArray[np.uint8]], Expected]


@dataclasses.dataclass(frozen=True)
class Parity:
    """The agreement of a SavedModel with the live model.

    Attributes:
        num_images: Number of images that were compared.
        num_pixels: Number of their pixels.
        num_equal: Number of the pixels with the same id.
        problems: Sentences about images with other segments.
        is_checked_without_xla: Whether the smallest image was compared also
            with XLA switched off.
        agreement: See `agreement.measure`, with the model whose weights were
            not rounded; None where they are not.
    """

    num_images: int
    num_pixels: int
    num_equal: int
    problems: list[str]
    is_checked_without_xla: bool = False
    agreement: float | None = None

    @property
    def equal_pixels(self) -> float:
        """Share of the pixels with the same id, 0..1."""
        return self.num_equal / self.num_pixels

    def as_dict(self) -> dict[str, Any]:
        """Returns the facts for `ExportInfo.parity`."""
        facts: dict[str, Any] = {
            "images": self.num_images,
            "equal_pixels": self.equal_pixels,
            "without_xla": self.is_checked_without_xla,
        }
        if self.agreement is not None:
            facts["agreement"] = self.agreement
        return facts

    def describe(self) -> str:
        """Returns a sentence for models that agree."""
        without = ", also without XLA" if self.is_checked_without_xla else ""
        rounded = "" if self.agreement is None else " with rounded weights"
        return (
            f"The SavedModel gives the same as the model{rounded}{without}: "
            f"{self.equal_pixels:.4%} of the pixels and all segments of "
            f"{self.num_images} images"
        )

    def describe_agreement(self, weights: str) -> str:
        """Returns a sentence about weights that are stored in 16 bits."""
        return (
            f"With weights of {weights} it segments {self.agreement:.2%} of "
            "the pixels as with those of the checkpoint; at least "
            f"{agreement_lib.MIN_AGREEMENT[weights]:.0%} are needed"
        )

    @property
    def is_good(self) -> bool:
        """Returns whether the models agree but for rounding."""
        different = self.num_pixels - self.num_equal
        return not self.problems and (
            self.equal_pixels >= MIN_EQUAL_PIXELS
            or different <= MAX_TIPPED_PIXELS
        )


def make_images(
    canvas_size: Sequence[int], large_sizes: Sequence[Sequence[int]] = ()
) -> list[NamedImage]:
    """Draws a few scenes of different sizes.

    Args:
        canvas_size: Height and width of the run's canvas, which the sizes are
            derived from.
        large_sizes: Further sizes, of one image each.

    Returns:
        Names and uint8 images [H, W, 3].
    """
    height, width = (min(max(side, 65), 513) for side in canvas_size)
    sizes = [
        (height, width),
        (height // 2 + 3, width // 2 + 18),
        (width // 2 + 18, height // 2 + 3),
        (64, 64),
        *((height, width) for height, width in large_sizes),
    ]
    return [
        (f"drawn scene {index}, {size[0]}x{size[1]}", image)
        for index, size in enumerate(sizes)
        for image in [scene.make_scene(index, size).image]
    ]


def make_live_predictor(
    system: contract.MetaArchitecture,
    model: keras.Model,
    preprocessings: Sequence[preprocessing_lib.Preprocessing],
) -> Predict:
    """Makes the function that predicts one image as the evaluation does.

    Args:
        system: The live system.
        model: The model that `system` built.
        preprocessings: Options of preprocessing for each size of canvas.

    Returns:
        Function of an image, uint8 [H, W, 3].
    """
    functions = [
        _make_predictor_on(system, model, options) for options in preprocessings
    ]

    def predict(image_hwc: npt.NDArray[np.uint8]) -> Expected:
        size = tf.constant(image_hwc.shape[:2])
        return functions[int(buckets.choose(size, preprocessings))](image_hwc)

    return predict


def _make_predictor_on(
    system: contract.MetaArchitecture,
    model: keras.Model,
    preprocessing: preprocessing_lib.Preprocessing,
) -> Predict:
    """Makes the function of `make_live_predictor` for one canvas."""
    size = canvas_lib.static_size(preprocessing)

    # As in the evaluation a graph, in which operations are fused: in bfloat16
    # that rounds noticeably differently. One for all canvases, because tracing
    # and optimizing it takes seconds.
    @tf.function(
        input_signature=[
            tf.TensorSpec([1, *(size or (None, None)), 3], tf.float32),
            tf.TensorSpec([1, 2], tf.int32),
        ],
        autograph=False,
    )
    def segment(images: tf.Tensor, valid_size: tf.Tensor) -> Prediction:
        return system.postprocess(
            system.infer(model, images),
            size or tf.shape(images)[1:3],
            valid_size,
        )

    def predict(image_hwc: npt.NDArray[np.uint8]) -> Expected:
        height, width = image_hwc.shape[:2]
        canvas, _, valid_size = preprocessing_lib.make_evaluation_canvas(
            tf.constant(image_hwc),
            tf.zeros([height, width], tf.int32),
            preprocessing,
            void=0,
        )
        prediction = segment(canvas[tf.newaxis], valid_size[tf.newaxis])
        maps = prediction.as_dict()
        map_hw = maps.get("panoptic", maps["semantic"]).numpy()[0]
        valid_height, valid_width = valid_size.numpy().tolist()
        restored = original_size.resize_nearest(
            map_hw[:valid_height, :valid_width], (height, width)
        )
        if prediction.panoptic is None:
            return Expected(restored, None)
        ids = prediction.segment_id.numpy()[0]
        is_valid = prediction.segment_is_valid.numpy()[0]
        segments = set(ids[is_valid].tolist())
        return Expected(restored, segments & set(np.unique(restored).tolist()))

    return predict


def compare(
    directory: str,
    system: contract.MetaArchitecture,
    model: keras.Model,
    preprocessings: Sequence[preprocessing_lib.Preprocessing],
    images: Iterable[NamedImage],
    *,
    needs_xla: bool,
    original: keras.Model | None = None,
) -> Parity:
    """Loads a SavedModel and compares it with the live model.

    All signatures are compared: maps with those of the live model, small
    answers and pictures with the maps.

    Args:
        directory: Folder of the SavedModel.
        system: The live system.
        model: The live model.
        preprocessings: Options of preprocessing for each size of canvas.
        images: Images to compare on, which are loaded one at a time.
        needs_xla: Whether the SavedModel was compiled by XLA. If not, the
            smallest image is also compared with XLA switched off, as it is in
            TensorFlow Serving.
        original: The model before its weights were rounded to what the
            SavedModel stores, with which the agreement is measured; None
            where they were not.

    Raises:
        ExportError: The SavedModel does not run without XLA.
    """
    loaded = tf.saved_model.load(directory)
    predict_live = make_live_predictor(system, model, preprocessings)
    predict_original = None
    if original is not None:
        predict_original = make_live_predictor(system, original, preprocessings)
    parts: list[Comparison] = []
    count = num_pixels = num_agreeing = 0
    smallest: tuple[NamedImage, Expected] | None = None
    for name, image in images:
        expected = predict_live(image)
        parts += _compare_signatures(loaded, system, (name, image), expected)
        count += 1
        if predict_original is not None:
            num_pixels += expected.map_hw.size
            num_agreeing += agreement_lib.count_agreeing(
                expected.map_hw,
                predict_original(image).map_hw,
                1 if expected.segments is None else _divisor(system),
            )
        if smallest is None or image.size < smallest[0][1].size:
            smallest = (name, image), expected
    is_checked = False
    if smallest is not None and not needs_xla:
        (name, image), expected = smallest
        without_xla = _predict_without_xla(directory, image)
        if without_xla is not None:
            name = f"{name}, without XLA"
            parts.append(answers.compare_maps(name, without_xla, expected))
            is_checked = True
    return Parity(
        count,
        sum(part.num_pixels for part in parts),
        sum(part.num_equal for part in parts),
        [problem for part in parts for problem in part.problems],
        is_checked,
        num_agreeing / num_pixels if num_pixels else None,
    )


def _divisor(system: contract.MetaArchitecture) -> int:
    return system.descriptor.label_divisor


def _compare_signatures(
    loaded: Any,
    system: contract.MetaArchitecture,
    named_image: NamedImage,
    expected: Expected,
) -> Iterator[Comparison]:
    """Compares all signatures on one image."""
    name, image = named_image
    encoded = tf.io.encode_png(image)[tf.newaxis]
    # Of the signature with maps of each kind, by whether it is compiled.
    maps: dict[bool, Mapping[str, Any]] = {}
    for signature in sorted(loaded.signatures, key=_order):
        serve = loaded.signatures[signature]
        base = signatures.base_of(signature)
        is_twin = signatures.is_twin(signature)
        label = f"{name}, {signature}"
        if base == signatures.IMAGES:
            maps[is_twin] = serve(images=tf.constant(image[np.newaxis]))
            yield answers.compare_maps(label, maps[is_twin], expected)
            continue
        outputs = serve(image_bytes=encoded)
        if base == signatures.COMPACT:
            yield answers.compare_compact(
                label, outputs, maps[is_twin], system.descriptor
            )
        elif base == signatures.OVERLAY:
            yield answers.compare_overlay(
                label, outputs, maps[is_twin], image, system.descriptor
            )
        else:
            yield answers.compare_maps(label, outputs, expected)


def _order(signature: str) -> tuple[bool, str]:
    """Puts the signatures first with which others are compared."""
    return signatures.base_of(signature) != signatures.IMAGES, signature


def _predict_without_xla(
    directory: str, image_hw3: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[Any]] | None:
    try:
        return xla_off.predict(directory, image_hw3)
    except xla_off.WithoutXlaError as error:
        raise errors.ExportError(
            "The written SavedModel does not run with XLA switched off, which "
            f"TensorFlow Serving does: {error} It was removed. Please report "
            "it; --jit_compile=true writes a model that needs XLA."
        ) from error


def require(parity: Parity) -> None:
    """Checks that a SavedModel agrees with the live model.

    Raises:
        ExportError: The models differ.
    """
    if parity.is_good:
        return
    listed = "".join(f"\n  {problem}" for problem in parity.problems[:5])
    raise errors.ExportError(
        f"The written SavedModel differs from the model: of "
        f"{parity.num_pixels} pixels of {parity.num_images} images "
        f"{parity.equal_pixels:.4%} are equal; at least "
        f"{MIN_EQUAL_PIXELS:.2%}, or all but {MAX_TIPPED_PIXELS}, and the same "
        "segments are needed."
        f"{listed}\nIt was removed. Give images of your own with "
        "--parity_images: on images that are nothing like the training data "
        "rounding may decide. If they differ too, add --nofold_batch_norms, "
        "and please report it."
    )


def require_agreement(parity: Parity, weights: str) -> None:
    """Checks that rounded weights segment as those of the checkpoint do.

    Args:
        parity: The comparison.
        weights: Type in which kernels are stored.

    Raises:
        ExportError: Too many pixels are in other segments.
    """
    limit = agreement_lib.MIN_AGREEMENT.get(weights, 0.0)
    if parity.agreement is None or parity.agreement >= limit:
        return
    raise errors.ExportError(
        f"With weights of {weights} the model segments {parity.agreement:.2%} "
        f"of the pixels of {parity.num_images} images as with those of the "
        f"checkpoint. At least {limit:.0%} are needed. It was removed. Give "
        "images of your own with --parity_images: on images that are nothing "
        "like the training data rounding may decide. Or export with "
        "--weights=float32."
    )
