# SPDX-License-Identifier: Apache-2.0
"""Restores maps of the canvas to the original sizes of the images."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclasses.dataclass(frozen=True)
class RestoredImage:
    """One image with its label and prediction, at its original size [H, W].

    Attributes:
        name: Name of the image.
        image: uint8 [H', W', 3], the canvas without padding.
        true_panoptic: int32 [H, W], panoptic ids of the label.
        semantic: int32 [H, W], predicted classes.
        panoptic: int32 [H, W], predicted panoptic ids; None for systems
            without instances.
        segments: Arrays [N] "id", "category", "score" and "area" of the valid
            segments of the prediction.
    """

    name: str
    image: npt.NDArray[np.uint8]
    true_panoptic: npt.NDArray[np.int32]
    semantic: npt.NDArray[np.int32]
    panoptic: npt.NDArray[np.int32] | None
    segments: dict[str, npt.NDArray[Any]]


def resize_nearest(
    map_hw: npt.NDArray[Any], size: tuple[int, int]
) -> npt.NDArray[Any]:
    """Resizes a label map to the nearest neighbor with aligned corners.

    Halves are rounded up, as in TensorFlow.

    Args:
        map_hw: [h, w], any dtype.
        size: New height and width.

    Returns:
        [height, width], the same dtype.
    """

    def indices(source: int, target: int) -> npt.NDArray[np.int64]:
        if target == 1:
            return np.zeros(1, np.int64)
        steps = np.arange(target) * (source - 1) / (target - 1)
        return np.minimum((steps + 0.5).astype(np.int64), source - 1)

    if map_hw.shape == tuple(size):
        return map_hw
    rows = indices(map_hw.shape[0], size[0])
    columns = indices(map_hw.shape[1], size[1])
    return map_hw[rows[:, None], columns[None, :]]


def restore_images(
    batch: Mapping[str, Any], outputs: Mapping[str, Any]
) -> Iterator[RestoredImage]:
    """Splits a batch into images, with maps at their original sizes.

    Args:
        batch: Batch of `data.pipeline.make_evaluation_dataset` as NumPy arrays.
        outputs: Fields of a `Prediction` as NumPy arrays.

    Yields:
        Each image of the batch.
    """
    for index, name in enumerate(batch["name"]):
        height, width = (int(n) for n in batch["valid_size"][index])
        rows, columns = (int(n) for n in batch["original_size"][index])

        def restore(
            maps: npt.NDArray[Any] | None,
            index: int = index,
            height: int = height,
            width: int = width,
            size: tuple[int, int] = (rows, columns),
        ) -> Any:
            if maps is None:
                return None
            return resize_nearest(maps[index, :height, :width], size)

        valid = outputs["segment_is_valid"][index]
        image = np.clip(batch["image"][index, :height, :width], 0, 255)
        yield RestoredImage(
            name=name.decode(),
            image=image.astype(np.uint8),
            true_panoptic=batch["panoptic"][index, :rows, :columns],
            semantic=restore(outputs["semantic"]),
            panoptic=restore(outputs.get("panoptic")),
            segments={
                key: outputs[f"segment_{key}"][index][valid]
                for key in ("id", "category", "score", "area")
            },
        )
