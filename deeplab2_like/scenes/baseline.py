# SPDX-License-Identifier: Apache-2.0
"""A baseline of `scenes` for networks: classes by color alone.

Two tables are learned from training scenes: the class whose mean color is
nearest, and the most frequent class of each of 16 x 16 x 16 cells of color.
Connected pixels of a thing class make an instance.
"""

from collections.abc import Sequence

import numpy as np

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import panoptic_quality, quality_result
from deeplab2_like.scenes import scene as scene_lib

SIZE = (129, 257)
MIN_AREAS = (1, 20, 100)
_CELLS = 16
_MIN_STUFF_AREA = 150


def compute_cells(image: np.ndarray) -> np.ndarray:
    """Returns the cell of each pixel's color: int [H, W] in 0..4095."""
    red, green, blue = np.moveaxis(
        image.astype(np.int64) // (256 // _CELLS), -1, 0
    )
    return (red * _CELLS + green) * _CELLS + blue


def learn_tables(training: Sequence[scene_lib.Scene]) -> dict[str, np.ndarray]:
    """Learns the class of each cell of color.

    Args:
        training: Scenes of one size.

    Returns:
        {name of the table: int [4096], the class of each cell}.
    """
    counts = np.zeros((_CELLS**3, scene_lib.NUM_CLASSES))
    sums = np.zeros((scene_lib.NUM_CLASSES, 3))
    for scene in training:
        classes = scene.panoptic // scene_lib.LABEL_DIVISOR
        known = classes != scene_lib.IGNORE_LABEL
        np.add.at(
            counts, (compute_cells(scene.image)[known], classes[known]), 1
        )
        np.add.at(sums, classes[known], scene.image[known].astype(np.float64))
    means = sums / counts.sum(0)[:, None]
    grid = np.indices((_CELLS,) * 3).reshape(3, -1).T * 16 + 7.5
    distance = ((grid[:, None] - means[None]) ** 2).sum(-1)
    return {"mean color": distance.argmin(1), "histogram": counts.argmax(1)}


def find_components(classes: np.ndarray) -> np.ndarray:
    """Numbers the regions of equal class, diagonal neighbors included.

    Args:
        classes: int [H, W].

    Returns:
        int64 [H, W], equal numbers for the pixels of a region only.
    """
    pixels = np.arange(classes.size).reshape(classes.shape)
    first, second = [], []
    for a, b in (
        (np.s_[:, 1:], np.s_[:, :-1]),
        (np.s_[1:], np.s_[:-1]),
        (np.s_[1:, 1:], np.s_[:-1, :-1]),
        (np.s_[1:, :-1], np.s_[:-1, 1:]),
    ):
        same = classes[a] == classes[b]
        first.append(pixels[a][same])
        second.append(pixels[b][same])
    one, other = np.concatenate(first), np.concatenate(second)
    root = pixels.ravel().copy()
    while True:
        lower = np.minimum(root[one], root[other])
        before = root.copy()
        np.minimum.at(root, root[one], lower)
        np.minimum.at(root, root[other], lower)
        root = root[root]
        if np.array_equal(root, before):
            return root.reshape(classes.shape)


def compute_label(classes: np.ndarray, min_area: int) -> np.ndarray:
    """Makes a panoptic label from a map of classes.

    Args:
        classes: int [H, W].
        min_area: Regions of things with fewer pixels become void.

    Returns:
        int64 [H, W], class * 1000 + instance.
    """
    label = classes.astype(np.int64) * scene_lib.LABEL_DIVISOR
    void = scene_lib.IGNORE_LABEL * scene_lib.LABEL_DIVISOR
    regions = find_components(classes)
    for kind in range(scene_lib.NUM_CLASSES):
        inside = classes == kind
        if kind not in scene_lib.THING_IDS:
            if np.count_nonzero(inside) < _MIN_STUFF_AREA:
                label[inside] = void
            continue
        roots, place, areas = np.unique(
            regions[inside], return_inverse=True, return_counts=True
        )
        numbers = np.cumsum(areas >= min_area)
        ids = kind * scene_lib.LABEL_DIVISOR + numbers
        ids[(areas < min_area) | (numbers >= scene_lib.LABEL_DIVISOR)] = void
        label[inside] = ids[place] if len(roots) else label[inside]
    return label


def score_colors(
    num_train: int, num_val: int
) -> dict[tuple[str, int], quality_result.PanopticQualityResult]:
    """Scores each table with each of `MIN_AREAS`.

    Args:
        num_train: Number of scenes to learn from.
        num_val: Number of scenes to score.

    Returns:
        {(table, min_area): result of `PanopticQuality`}.
    """

    def draw(split: str, count: int) -> list[scene_lib.Scene]:
        return [
            scene_lib.make_scene(scene_lib.compute_seed(split, index), SIZE)
            for index in range(count)
        ]

    tables = learn_tables(draw("train", num_train))
    descriptor = descriptor_lib.load("scenes")
    validation = draw("val", num_val)
    results = {}
    for name, table in tables.items():
        for min_area in MIN_AREAS:
            quality = panoptic_quality.PanopticQuality(descriptor)
            for scene in validation:
                classes = table[compute_cells(scene.image)]
                quality.update(scene.panoptic, compute_label(classes, min_area))
            results[name, min_area] = quality.result()
    return results
