# SPDX-License-Identifier: Apache-2.0
"""Compares a SavedModel with the live model that it was exported from."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import preprocessing as preprocessing_lib
from deeplab2_like.exports import serving, xla_off
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.labels import coco_format, label_map
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import contract
from deeplab2_like.postprocess.prediction import Prediction
from deeplab2_like.results import original_size
from deeplab2_like.scenes import scene

MIN_EQUAL_PIXELS = 0.9999
# One value of a network at stride 4, which may differ by rounding, is 4x4
# pixels; of small images that is a larger share.
MAX_TIPPED_PIXELS = 16

NamedImage = tuple[str, npt.NDArray[np.uint8]]
# Panoptic ids, or classes; and the ids of the segments, if there are any.
_Expected = tuple[npt.NDArray[np.int32], set[int] | None]
Predict = Callable[[npt.NDArray[np.uint8]], _Expected]


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
    """

    num_images: int
    num_pixels: int
    num_equal: int
    problems: list[str]
    is_checked_without_xla: bool = False

    @property
    def equal_pixels(self) -> float:
        """Share of the pixels with the same id, 0..1."""
        return self.num_equal / self.num_pixels

    def as_dict(self) -> dict[str, Any]:
        """Returns the facts for `ExportInfo.parity`."""
        return {
            "images": self.num_images,
            "equal_pixels": self.equal_pixels,
            "without_xla": self.is_checked_without_xla,
        }

    def describe(self) -> str:
        """Returns a sentence for models that agree."""
        without = ", also without XLA" if self.is_checked_without_xla else ""
        return (
            f"The SavedModel gives the same as the model{without}: "
            f"{self.equal_pixels:.4%} of the pixels and all segments of "
            f"{self.num_images} images"
        )

    @property
    def is_good(self) -> bool:
        """Returns whether the models agree but for rounding."""
        different = self.num_pixels - self.num_equal
        return not self.problems and (
            self.equal_pixels >= MIN_EQUAL_PIXELS
            or different <= MAX_TIPPED_PIXELS
        )


def make_images(canvas_size: Sequence[int]) -> list[NamedImage]:
    """Draws a few scenes of different sizes.

    Args:
        canvas_size: Height and width of the run's canvas, which the sizes are
            derived from.

    Returns:
        Names and uint8 images [H, W, 3].
    """
    height, width = (min(max(side, 65), 513) for side in canvas_size)
    sizes = [
        (height, width),
        (height // 2 + 3, width // 2 + 18),
        (width // 2 + 18, height // 2 + 3),
        (64, 64),
    ]
    return [
        (f"drawn scene {index}, {size[0]}x{size[1]}", image)
        for index, size in enumerate(sizes)
        for image in [scene.make_scene(index, size).image]
    ]


def make_live_predictor(
    system: contract.MetaArchitecture,
    model: keras.Model,
    preprocessing: preprocessing_lib.Preprocessing,
) -> Predict:
    """Makes the function that predicts one image as the evaluation does.

    Args:
        system: The live system.
        model: The model that `system` built.
        preprocessing: Options of preprocessing.

    Returns:
        Function of an image, uint8 [H, W, 3]. It returns int32 [H, W],
        panoptic ids, or classes where there are no instances; and the ids of
        the segments, or None where there are no instances.
    """
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

    def predict(image_hwc: npt.NDArray[np.uint8]) -> _Expected:
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
            return restored, None
        ids = prediction.segment_id.numpy()[0]
        is_valid = prediction.segment_is_valid.numpy()[0]
        return restored, set(ids[is_valid].tolist()) & set(
            np.unique(restored).tolist()
        )

    return predict


def compare(
    directory: str,
    system: contract.MetaArchitecture,
    model: keras.Model,
    preprocessing: preprocessing_lib.Preprocessing,
    images: Iterable[NamedImage],
    *,
    needs_xla: bool,
) -> Parity:
    """Loads a SavedModel and compares it with the live model.

    Its compact signature, if it has one, is compared with the others.

    Args:
        directory: Folder of the SavedModel.
        system: The live system.
        model: The live model.
        preprocessing: Options of preprocessing.
        images: Images to compare on, which are loaded one at a time.
        needs_xla: Whether the SavedModel was compiled by XLA. If not, the
            smallest image is also compared with XLA switched off, as it is in
            TensorFlow Serving.

    Raises:
        ExportError: The SavedModel does not run without XLA.
    """
    loaded = tf.saved_model.load(directory)
    serve = loaded.signatures[serving.IMAGES_SIGNATURE]
    predict_live = make_live_predictor(system, model, preprocessing)
    serve_compact = loaded.signatures.get(serving.COMPACT_SIGNATURE)
    parts, count = [], 0
    smallest: tuple[NamedImage, _Expected] | None = None
    for name, image in images:
        expected = predict_live(image)
        outputs = serve(images=tf.constant(image[np.newaxis]))
        parts.append(_compare_image(name, outputs, expected))
        count += 1
        if serve_compact is not None:
            encoded = tf.io.encode_png(image)[tf.newaxis]
            rows = serve_compact(image_bytes=encoded)
            parts.append(
                _compare_compact(name, rows, outputs, system.descriptor)
            )
        if smallest is None or image.size < smallest[0][1].size:
            smallest = (name, image), expected
    is_checked = False
    if smallest is not None and not needs_xla:
        (name, image), expected = smallest
        without_xla = _predict_without_xla(directory, image)
        if without_xla is not None:
            name = f"{name}, without XLA"
            parts.append(_compare_image(name, without_xla, expected))
            is_checked = True
    return Parity(
        count,
        sum(part.num_pixels for part in parts),
        sum(part.num_equal for part in parts),
        [problem for part in parts for problem in part.problems],
        is_checked,
    )


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


def _compare_image(
    name: str, outputs: Mapping[str, Any], expected: _Expected
) -> Parity:
    """Compares the outputs for one image with those of the live model."""
    map_hw, segments = expected
    key = "semantic" if segments is None else "panoptic"
    equal = int(np.sum(np.asarray(outputs[key])[0] == map_hw))
    problems = []
    if segments is not None:
        problems = _compare_segments(name, outputs, segments)
    return Parity(1, map_hw.size, equal, problems)


def _compare_segments(
    name: str, outputs: Mapping[str, Any], expected: set[int]
) -> list[str]:
    is_valid = np.asarray(outputs["segment_is_valid"])[0]
    found = set(np.asarray(outputs["segment_id"])[0][is_valid].tolist())
    if found == expected:
        return []
    missing, extra = expected - found, found - expected
    return [
        f"{name}: {len(found)} segments instead of {len(expected)}, missing "
        f"{sorted(missing)[:3]}, unexpected {sorted(extra)[:3]}"
    ]


def _compare_compact(
    name: str,
    rows: Mapping[str, Any],
    outputs: Mapping[str, Any],
    descriptor: descriptor_lib.DatasetDescriptor,
) -> Parity:
    """Compares the compact answer for one image with the maps.

    Args:
        name: Name of the image.
        rows: Outputs of the compact signature.
        outputs: Outputs of the default signature.
        descriptor: The data set.
    """
    divisor = descriptor.label_divisor
    ids_hw = np.asarray(
        outputs["panoptic"][0]
        if "panoptic" in outputs
        else outputs["semantic"][0] * divisor
    )
    is_valid = np.asarray(outputs["segment_is_valid"])[0]
    ids = np.asarray(outputs["segment_id"])[0][is_valid]
    expected = label_map.replace_values(ids_hw, ids, np.arange(1, len(ids) + 1))
    row = {key: value.numpy()[0] for key, value in rows.items()}
    name = f"{name}, {serving.COMPACT_SIGNATURE}"
    if row["error"]:
        sentence = row["error"].decode("utf-8", "replace")
        return Parity(1, expected.size, 0, [f"{name}: {sentence}"])
    found = coco_format.decode_ids(
        tf.io.decode_png(row["panoptic_png_bytes"], channels=3).numpy()
    )
    if found.shape != expected.shape:
        return Parity(1, expected.size, 0, [f"{name}: {found.shape}"])
    areas = np.bincount(found.reshape(-1), minlength=len(ids) + 1)[1:]
    used = slice(0, row["num_segments"])
    problems = [
        f"{name}: other segment_{key}"
        for key, values in (
            ("id", np.arange(1, len(ids) + 1)),
            ("category_id", np.take(descriptor.category_ids, ids // divisor)),
            ("isthing", [descriptor.is_thing(i) for i in ids // divisor]),
            ("area", areas),
        )
        if row[f"segment_{key}"][used].tolist() != list(values)
    ]
    return Parity(1, expected.size, int(np.sum(found == expected)), problems)


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
