# SPDX-License-Identifier: Apache-2.0
"""How the segments of tiles compare with those of the whole image.

    python benchmarks/tile_mosaics.py --model=run --numbers=2,4,8
    python benchmarks/tile_mosaics.py --model=run --file_pattern='nuclei/val-*'

On mosaics of n x n scenes, or images of records of the model's data set, the
segments of an image in tiles are compared with those of the same image in a
single tile, with the same limit of instances: PQ of both against the truth, of
all classes and of things, how many objects both find, and the PQ of the tiles
against the whole.

An object of the whole, of 20 pixels or more, is split if two objects of the
tiles have a tenth of it or more each. It is cut by a seam if half of the border
between its parts lies where tiles meet: in the middle of what they share, or
where the weight of one becomes 0, give or take two pixels. Of the rows and
columns these are the share that the last column says, and so many borders
that have nothing to do with seams are expected there.
"""

import collections
import dataclasses
import itertools
import json
import pathlib
import sys
import tempfile
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import tables  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.config import sizes as sizes_lib  # noqa: E402
from deeplab2_like.console import (  # noqa: E402
    native_logs,
    path_flags,
    program,
    progress,
)
from deeplab2_like.labels.descriptor import DatasetDescriptor  # noqa: E402
from deeplab2_like.large_images import scaled  # noqa: E402
from deeplab2_like.large_images import tiling as tiling_lib  # noqa: E402
from deeplab2_like.large_images.options import AUTO, LargeOptions  # noqa: E402
from deeplab2_like.large_images.result import LargeResult  # noqa: E402
from deeplab2_like.large_images.source import (  # noqa: E402
    LargeImage,
    Window,
)
from deeplab2_like.metrics import overlaps, panoptic_quality  # noqa: E402
from deeplab2_like.scenes import scene  # noqa: E402
from deeplab2_like.storage import file_identity  # noqa: E402

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_NUMBERS = flags.DEFINE_list(
    "numbers",
    ["2", "4"],
    "Images on a side of each mosaic.",
    flag_values=_FLAGS,
)
_MODEL = path_flags.define(
    "model",
    None,
    "Folder of a run. Required.",
    holds_checkpoint=True,
    flag_values=_FLAGS,
)
_FILE_PATTERN = path_flags.define(
    "file_pattern",
    None,
    "Records of the model's data set, of which the images of the most frequent "
    "size are taken; by default scenes are drawn.",
    flag_values=_FLAGS,
)
_TILE = flags.DEFINE_integer(
    "tile", 1025, "Side of the tiles in pixels.", flag_values=_FLAGS
)
_OVERLAP = flags.DEFINE_string(
    "overlap", AUTO, "As of deeplab2-predict.", flag_values=_FLAGS
)

_SMALLEST = 20
# Of labels of mosaics, which have many instances.
_DIVISOR = 1 << 20
Example = tuple[np.ndarray, np.ndarray]


def make_mosaic(examples: list[Example], label_divisor: int) -> Example:
    """Makes a mosaic of n x n images.

    Args:
        examples: n * n images, uint8 [h, w, 3], and labels, integers [h, w],
            class * label_divisor + instance, all of one size.
        label_divisor: That of the labels.

    Returns:
        The image, and its label, int64, class * _DIVISOR + instance.
    """
    number = round(len(examples) ** 0.5)
    height, width = examples[0][1].shape
    pixels = np.zeros((number * height, number * width, 3), np.uint8)
    truth = np.zeros(pixels.shape[:2], np.int64)
    used = 0
    for index, (image, label) in enumerate(examples):
        y, x = index // number * height, index % number * width
        pixels[y : y + height, x : x + width] = image
        category, instance = np.divmod(label, label_divisor)
        instance = np.where(instance > 0, instance + used, 0)
        used = max(used, int(instance.max()))
        truth[y : y + height, x : x + width] = category * _DIVISOR + instance
    return pixels, truth


class ArrayImage(LargeImage):
    """An image in memory."""

    path = "mosaic"

    def __init__(self, pixels: np.ndarray):
        """Stores uint8 [H, W, 3]."""
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, top: int, left: int, bottom: int, right: int) -> Window:
        """Reads a part."""
        return Window(self._pixels[top:bottom, left:right])

    def describe(self) -> file_identity.Source:
        """Describes the image."""
        return file_identity.Source(self.path, self._pixels.size, 0)


def to_labels(result: LargeResult, ignore_label: int) -> np.ndarray:
    """Returns int64 [H, W], class * _DIVISOR + instance."""
    segments = result.segments
    instance = np.where(segments.is_thing, segments.id, 0).astype(np.int64)
    category = segments.category.astype(np.int64)
    table = np.concatenate(
        [[ignore_label * _DIVISOR], category * _DIVISOR + instance]
    )
    return table[result.labels.read(0, result.labels.height)]


def find_lines(
    tiling: tiling_lib.Tiling, size: tuple[int, int], head_stride: int = 4
) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows and columns lie where tiles meet: bool [H], [W].

    Args:
        tiling: Tiles of the image, at the scale that the network sees.
        size: (H, W) of the image.
        head_stride: Pixels between positions of the heads.
    """
    found = []
    for axis, length in zip((tiling.rows, tiling.columns), size, strict=True):
        is_line = np.zeros(axis.length, bool)
        for index, start in enumerate(axis.starts):
            weights = axis.weigh(index, head_stride)
            used = np.flatnonzero(weights) * head_stride + start
            last = used[-1] if index + 1 < len(axis.starts) else 0
            for place in (used[0], last, axis.find_own(index)[0]):
                if place > 0:
                    is_line[max(place - 2, 0) : place + 2] = True
        scale = (axis.length - 1) / max(length - 1, 1)
        found.append(is_line[np.rint(np.arange(length) * scale).astype(int)])
    return found[0], found[1]


def count_cut(
    whole: np.ndarray,
    tiled: np.ndarray,
    lines: tuple[np.ndarray, np.ndarray],
) -> tuple[int, int]:
    """Counts the objects of the whole that are several in tiles.

    Args:
        whole: Integers [H, W], class * _DIVISOR + instance.
        tiled: The same of tiles.
        lines: Result of `find_lines`.

    Returns:
        How many are split, and how many of them are cut by a seam.
    """
    found = overlaps.compute_overlaps(whole, tiled)
    areas = found.true_areas[found.true_index]
    is_part = (
        (found.true_ids[found.true_index] % _DIVISOR > 0)
        & (found.predicted_ids[found.predicted_index] % _DIVISOR > 0)
        & (areas >= _SMALLEST)
        & (10 * found.areas >= areas)
    )
    known, parts = np.unique(found.true_index[is_part], return_counts=True)
    split = found.true_ids[known[parts > 1]]
    borders = np.zeros((2, len(found.true_ids)), np.int64)
    for axis, is_line in enumerate(lines):
        some, others = (
            [np.delete(values, end, axis) for values in (whole, tiled)]
            for end in (0, -1)
        )
        is_border = (some[0] == others[0]) & (some[1] != others[1])
        is_border &= (some[1] % _DIVISOR > 0) & (others[1] % _DIVISOR > 0)
        place = np.searchsorted(found.true_ids, some[0][is_border])
        on_line = is_line[1:][np.nonzero(is_border)[axis]]
        np.add.at(borders[0], place, 1)
        np.add.at(borders[1], place[on_line], 1)
    total, on_lines = borders[:, np.searchsorted(found.true_ids, split)]
    return len(split), int(np.sum((total > 0) & (2 * on_lines >= total)))


def _predict(
    model: Any, image: ArrayImage, options: LargeOptions, ignore_label: int
) -> tuple[np.ndarray, int | None]:
    """Predicts an image; returns labels, and the overlap that was measured."""
    from deeplab2_like.large_images import predicting

    with tempfile.TemporaryDirectory() as work:
        result = predicting.predict_large(
            model, image, options, work, progress.Progress()
        )
        labels = to_labels(result, ignore_label)
        notes = json.loads((pathlib.Path(work) / "notes.json").read_text())
    return labels, notes.get("overlap")


def _allow_instances(model: Any, limit: int) -> Any:
    """Returns the model with another limit of instances for an image."""
    system = model.system
    classes, centers = system.pixel_rules
    rules = type(system.pixel_rules)(
        classes, dataclasses.replace(centers, keep_k_centers=limit)
    )
    return dataclasses.replace(
        model,
        system=types.SimpleNamespace(
            pixel_rules=rules,
            output_stride=system.output_stride,
            descriptor=system.descriptor,
        ),
    )


def _compute_quality(
    dataset: DatasetDescriptor, true: np.ndarray, found: np.ndarray
) -> tuple[float, float]:
    """Returns PQ of all classes and of things, in percent."""
    quality = panoptic_quality.PanopticQuality(dataset)
    quality.update(true, found)
    result = quality.result()
    return 100 * result.all.pq, 100 * result.things.pq


def _count_objects(labels: np.ndarray) -> int:
    return int(np.sum(np.unique(labels) % _DIVISOR > 0))


def compare(
    model: Any, examples: list[Example], options: LargeOptions
) -> dict[str, Any]:
    """Compares tiles with the whole on a mosaic of n * n examples."""
    from deeplab2_like.large_images import peaks

    system = model.system
    pixels, truth = make_mosaic(examples, system.descriptor.label_divisor)
    image = ArrayImage(pixels)
    seen = scaled.ScaledImage(image, model.preprocessing.input_scale_factor)
    size = (seen.height, seen.width)
    side = sizes_lib.legal_canvas(
        max(size), system.output_stride, model.preprocessing.canvas_remainder
    )
    whole_model = model
    if system.pixel_rules is not None and system.pixel_rules.centers:
        limit = peaks.scale_limit(
            system.pixel_rules.centers.limit, size, options.tile
        )
        whole_model = _allow_instances(model, limit)
    ignore_label = system.descriptor.ignore_label
    one_tile = dataclasses.replace(options, tile=side, overlap=None)
    whole, _ = _predict(whole_model, image, one_tile, ignore_label)
    tiled, measured = _predict(model, image, options, ignore_label)
    shared = options.overlap
    if shared is None:
        shared = options.tile // 4 if measured is None else measured
    tiling = tiling_lib.make_tiling(
        size, options.tile, shared, system.output_stride
    )
    lines = find_lines(tiling, truth.shape)
    dataset = dataclasses.replace(system.descriptor, label_divisor=_DIVISOR)
    number = round(len(examples) ** 0.5)
    row: dict[str, Any] = {
        "mosaic": f"{number} x {number}",
        "objects": _count_objects(truth),
    }
    for name, found in (("whole", whole), ("tiles", tiled)):
        quality = _compute_quality(dataset, truth, found)
        row[f"PQ, {name}"], row[f"PQ of things, {name}"] = quality
        row[f"found, {name}"] = _count_objects(found)
    row["tiles against whole: PQ"], _ = _compute_quality(dataset, whole, tiled)
    row["split"], row["cut"] = count_cut(whole, tiled, lines)
    share = 1 - np.mean(~lines[0]) * np.mean(~lines[1])
    row["% of pixels at seams"] = 100 * float(share)
    return row


def draw_scenes() -> Iterator[Example]:
    """Draws scenes that the demo neither trains on nor evaluates."""
    for index in itertools.count(10**6):
        drawn = scene.make_scene(index)
        yield drawn.image, drawn.panoptic


def read_records(pattern: str, dataset: DatasetDescriptor) -> list[Example]:
    """Reads the images of the most frequent size, with their labels.

    Raises:
        DataError: There are no such records.
    """
    import tensorflow as tf

    from deeplab2_like.data.records import decoding, paths

    examples = []
    for record in tf.data.TFRecordDataset(paths.find_files(pattern)):
        found = decoding.decode_example(
            record,
            num_classes=dataset.num_classes,
            ignore_label=dataset.ignore_label,
            label_divisor=dataset.label_divisor,
        )
        examples.append((found["image"].numpy(), found["panoptic"].numpy()))
    sizes = collections.Counter(label.shape for _, label in examples)
    ((size, _),) = sizes.most_common(1)
    return [example for example in examples if example[1].shape == size]


def _main(arguments: list[str]) -> None:
    program.refuse_arguments(arguments)
    options = LargeOptions.parse(_TILE.value, _OVERLAP.value)
    numbers = tables.read_numbers(_NUMBERS.value, "numbers")
    if _MODEL.value is None:
        raise errors.ConfigError(
            "--model is missing. Give the folder of a run."
        )
    native_logs.load_tensorflow()
    from deeplab2_like.predict import panoptic_model

    with native_logs.hide_routine():
        model = panoptic_model.load_model(_MODEL.value).tile_model()
    rows = []
    for number in numbers:
        source: Iterator[Example] = draw_scenes()
        if _FILE_PATTERN.value:
            source = itertools.cycle(
                read_records(_FILE_PATTERN.value, model.system.descriptor)
            )
        examples = list(itertools.islice(source, number * number))
        rows.append(compare(model, examples, options))
    tables.print_table(rows)


if __name__ == "__main__":
    program.run(_main, _FLAGS)
