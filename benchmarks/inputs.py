# SPDX-License-Identifier: Apache-2.0
"""Inputs of the benchmarks: read from a folder, or drawn.

All have 19 classes, things 11..18, label divisor 1000, void 255 (those of
Cityscapes). A folder may contain, as NumPy archives:

* post_NNN.npz: semantic uint8 [H, W], heatmap float [H, W], offsets float
  [H, W, 2] (dy, dx): what a network predicts for an image of NNN instances.
* label_NNN.npz: panoptic int32 [H, W], image uint8 [H, W, 3].
* metric_NNN.npz: gt and pred int32 [H, W], panoptic ids.
* train_257x513.npz: as label_NNN.npz.

Drawn inputs are ellipses on bands of stuff.
"""

import pathlib
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors

NUM_CLASSES = 19
THING_IDS = tuple(range(11, 19))
STUFF_IDS = tuple(range(11))
LABEL_DIVISOR = 1000
IGNORE_LABEL = 255
SIZE = (1024, 2048)

_VOID = IGNORE_LABEL * LABEL_DIVISOR
# Logit of the winning class above the noise of the others, in 0..2.
_PEAK = 6.0

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.int32]


class NetworkMaps(NamedTuple):
    """Predictions of a network for an image, at full size.

    Attributes:
        semantic: uint8 [H, W], the winning class.
        heatmap: float32 [H, W].
        offset: float32 [H, W, 2], (dy, dx) in pixels.
    """

    semantic: npt.NDArray[np.uint8]
    heatmap: Floats
    offset: Floats


class HeadOutputs(NamedTuple):
    """Predictions of a network for an image, at a quarter of its size.

    Attributes:
        logits: float32 [1, h, w, 19].
        heatmap: float32 [1, h, w, 1].
        offset: float32 [1, h, w, 2], in pixels of the head resolution.
    """

    logits: Floats
    heatmap: Floats
    offset: Floats


def load_network_maps(
    folder: pathlib.Path | None,
    instances: int,
    size: tuple[int, int] = SIZE,
) -> NetworkMaps:
    """Loads post_NNN.npz, or draws it at `size` where `folder` is None."""
    content = _load(folder, f"post_{instances:03}.npz")
    if content is None:
        return draw_network_maps(draw_label(instances, size), seed=instances)
    return NetworkMaps(
        content["semantic"],
        content["heatmap"].astype(np.float32),
        content["offsets"].astype(np.float32),
    )


def load_label(
    folder: pathlib.Path | None, instances: int
) -> tuple[npt.NDArray[np.uint8], Ids]:
    """Loads image and panoptic label of label_NNN.npz, or draws them."""
    return _load_example(folder, f"label_{instances:03}.npz", instances, SIZE)


def load_training_example(
    folder: pathlib.Path | None, size: tuple[int, int]
) -> tuple[npt.NDArray[np.uint8], Ids]:
    """Loads image and label of train_HxW.npz, or draws them."""
    name = f"train_{size[0]}x{size[1]}.npz"
    return _load_example(folder, name, 30, size)


def _load_example(
    folder: pathlib.Path | None,
    name: str,
    instances: int,
    size: tuple[int, int],
) -> tuple[npt.NDArray[np.uint8], Ids]:
    content = _load(folder, name)
    if content is None:
        panoptic = draw_label(instances, size)
        return draw_image(panoptic, seed=instances), panoptic
    return content["image"], content["panoptic"].astype(np.int32)


def load_metric_pair(
    folder: pathlib.Path | None, instances: int
) -> tuple[Ids, Ids]:
    """Loads truth and prediction of metric_NNN.npz, or draws them."""
    content = _load(folder, f"metric_{instances:03}.npz")
    if content is None:
        truth = draw_label(instances, SIZE)
        return truth, _draw_prediction(truth, seed=instances)
    return content["gt"].astype(np.int32), content["pred"].astype(np.int32)


def _load(
    folder: pathlib.Path | None, name: str
) -> dict[str, npt.NDArray] | None:
    if folder is None:
        return None
    try:
        with np.load(folder / name) as content:
            return dict(content)
    except (OSError, ValueError) as error:
        raise errors.DataError(
            f"{folder / name} cannot be read ({error}). Leave --inputs out to "
            "measure on drawn inputs."
        ) from error


def draw_label(instances: int, size: tuple[int, int], seed: int = 0) -> Ids:
    """Draws a panoptic label: ellipses of very different sizes on bands.

    Later instances are behind earlier ones; some may be hidden completely.

    Args:
        instances: Number of instances.
        size: (H, W).
        seed: Seed of the random numbers.

    Returns:
        int32 [H, W], class * 1000 + instance.
    """
    height, width = size
    generator = np.random.default_rng([seed, instances])
    y = np.arange(height, dtype=np.float32)[:, np.newaxis]
    x = np.arange(width, dtype=np.float32)
    wave = height / 30 * np.sin(x * (9 / width) + y * (5 / height))
    band = ((y + wave) * (8 / height)).astype(int) * 2 + (x > width / 2)
    label = (band % len(STUFF_IDS) * LABEL_DIVISOR).astype(np.int32)
    label[int(0.95 * height) :] = _VOID
    is_free = np.ones(size, bool)
    numbers = dict.fromkeys(THING_IDS, 0)
    for _ in range(instances):
        category = int(generator.choice(THING_IDS))
        # Half the typical radius where there are many instances.
        typical = 40.0 if instances < 60 else 20.0
        radius = np.exp(generator.normal(np.log(typical), 0.7)) * height / 1024
        radius_y = float(np.clip(radius, 2, height / 4))
        radius_x = radius_y * generator.uniform(0.5, 2.0)
        center_y = generator.uniform(0.3, 0.9) * height
        center_x = generator.uniform(0.0, 1.0) * width
        inside = (
            ((y - center_y) / radius_y) ** 2 + ((x - center_x) / radius_x) ** 2
        ) < 1
        inside &= is_free
        numbers[category] += 1
        label[inside] = category * LABEL_DIVISOR + numbers[category]
        is_free &= ~inside
    return label


def draw_image(panoptic: Ids, seed: int) -> npt.NDArray[np.uint8]:
    """Draws an image of a label: a color for each id, and noise.

    Args:
        panoptic: int32 [H, W].
        seed: Seed of the random numbers.

    Returns:
        uint8 [H, W, 3].
    """
    generator = np.random.default_rng([seed, 1])
    colors = generator.integers(0, 200, (997, 3), np.uint8)
    image = colors[panoptic % 997]
    return image + generator.integers(0, 56, image.shape, np.uint8)


def draw_network_maps(panoptic: Ids, seed: int) -> NetworkMaps:
    """Draws predictions of a network for an image with this label.

    Args:
        panoptic: int32 [H, W].
        seed: Seed of the random numbers.
    """
    generator = np.random.default_rng([seed, 2])
    height, width = panoptic.shape
    seen = _jitter(panoptic, generator, 2)
    semantic = seen // LABEL_DIVISOR
    semantic = np.where(semantic == IGNORE_LABEL, 0, semantic)
    heatmap = generator.random(panoptic.shape, np.float32) * 0.004
    offset = 20 * generator.standard_normal((height, width, 2), np.float32)
    for number in _find_instances(panoptic):
        ys, xs = np.nonzero(panoptic == number)
        center = np.rint([ys.mean(), xs.mean()]).astype(int)
        ys, xs = np.nonzero(seen == number)
        noise = 1.5 * generator.standard_normal((len(ys), 2), np.float32)
        offset[ys, xs] = center - np.stack([ys, xs], -1) + noise
        _draw_peak(heatmap, center, generator.uniform(0.35, 0.95))
    return NetworkMaps(semantic.astype(np.uint8), heatmap, offset)


def _find_instances(panoptic: Ids) -> list[int]:
    ids = np.unique(panoptic)
    return ids[(ids % LABEL_DIVISOR > 0) & (ids != _VOID)].tolist()


def _draw_peak(
    heatmap: Floats, center: npt.NDArray[np.int64], height: float
) -> None:
    """Draws a Gaussian with a deviation of 8 pixels, in place."""
    top, left = np.maximum(center - 25, 0)
    part = heatmap[top : center[0] + 26, left : center[1] + 26]
    y = np.arange(part.shape[0]) + (top - center[0])
    x = np.arange(part.shape[1]) + (left - center[1])
    peak = height * np.exp(-(y[:, np.newaxis] ** 2 + x**2) / 128.0)
    np.maximum(part, peak.astype(np.float32), out=part)


def _jitter(panoptic: Ids, generator: np.random.Generator, most: int) -> Ids:
    """Moves blocks of pixels by up to `most`, for ragged outlines."""
    height, width = panoptic.shape

    def draw_shift() -> npt.NDArray[np.int64]:
        coarse = generator.integers(
            -most, most + 1, (height // 8 + 1, width // 8 + 1)
        )
        return coarse.repeat(8, 0).repeat(8, 1)[:height, :width]

    y = np.arange(height)[:, np.newaxis] + draw_shift()
    x = np.arange(width) + draw_shift()
    return panoptic[np.clip(y, 0, height - 1), np.clip(x, 0, width - 1)]


def _draw_prediction(truth: Ids, seed: int) -> Ids:
    """Draws a prediction: outlines off, some instances missed or merged."""
    generator = np.random.default_rng([seed, 3])
    prediction = _jitter(truth, generator, 4)
    numbers = _find_instances(prediction)
    for number in numbers:
        chance = generator.random()
        if chance < 0.1:
            prediction[prediction == number] = 0
        elif chance < 0.15:
            prediction[prediction == number] = generator.choice(numbers)
    return prediction


def make_probabilities(semantic: npt.NDArray[np.uint8]) -> Floats:
    """Makes class probabilities of which `semantic` is the argmax.

    Args:
        semantic: uint8 [H, W].

    Returns:
        float32 [H, W, 19].
    """
    logits = make_logits(semantic)
    np.exp(logits, out=logits)
    logits /= logits.sum(-1, keepdims=True)
    return logits


def make_logits(
    semantic: npt.NDArray[np.uint8], num_classes: int = NUM_CLASSES
) -> Floats:
    """Makes logits of which `semantic` is the argmax.

    Args:
        semantic: uint8 [H, W].
        num_classes: Number of channels.

    Returns:
        float32 [H, W, num_classes].
    """
    generator = np.random.default_rng(4)
    logits = 2 * generator.random((*semantic.shape, num_classes), np.float32)
    winner = semantic[..., np.newaxis].astype(np.int64)
    np.put_along_axis(logits, winner, _PEAK, axis=-1)
    return logits


def make_head_outputs(maps: NetworkMaps) -> HeadOutputs:
    """Takes every fourth pixel, with one more row and column at the end.

    The canvas is then one pixel larger than the maps: its sides are of the
    form 16 * k + 1.
    """

    def reduce(values: npt.NDArray) -> npt.NDArray:
        padding = [(0, 1), (0, 1)] + [(0, 0)] * (values.ndim - 2)
        return np.pad(values[::4, ::4], padding, "edge")

    return HeadOutputs(
        make_logits(reduce(maps.semantic))[np.newaxis],
        reduce(maps.heatmap)[np.newaxis, ..., np.newaxis],
        reduce(maps.offset)[np.newaxis] / np.float32(4.0),
    )
