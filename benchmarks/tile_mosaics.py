# SPDX-License-Identifier: Apache-2.0
"""How the segments of tiles compare with those of the whole image.

    python benchmarks/tile_mosaics.py --model=run --numbers=2,4,8 --repeat=4
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
import pathlib
import sys
import tempfile
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import seams, tables  # noqa: E402
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
from deeplab2_like.metrics import panoptic_quality  # noqa: E402
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
_REPEAT = flags.DEFINE_integer(
    "repeat",
    1,
    "Mosaics of each number, whose segments are scored together.",
    lower_bound=1,
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

Example = tuple[np.ndarray, np.ndarray]


def make_mosaic(examples: list[Example], label_divisor: int) -> Example:
    """Makes a mosaic of n x n images.

    Args:
        examples: n * n images, uint8 [h, w, 3], and labels, integers [h, w],
            class * label_divisor + instance, all of one size.
        label_divisor: That of the labels.

    Returns:
        The image, and its label, int64, class * seams.DIVISOR + instance.
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
        truth[y : y + height, x : x + width] = (
            category * seams.DIVISOR + instance
        )
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
    """Returns int64 [H, W], class * seams.DIVISOR + instance."""
    segments = result.segments
    instance = np.where(segments.is_thing, segments.id, 0).astype(np.int64)
    category = segments.category.astype(np.int64)
    table = np.concatenate(
        [[ignore_label * seams.DIVISOR], category * seams.DIVISOR + instance]
    )
    return table[result.labels.read(0, result.labels.height)]


def _predict(
    model: Any, image: ArrayImage, options: LargeOptions, ignore_label: int
) -> tuple[np.ndarray, int | None]:
    """Predicts an image; returns labels, and the overlap that was measured."""
    from deeplab2_like.large_images import predicting, work_folder

    with tempfile.TemporaryDirectory() as work:
        result = predicting.predict_large(
            model, image, options, work, progress.Progress()
        )
        labels = to_labels(result, ignore_label)
        notes = work_folder.read_notes(work)
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


def _count_objects(labels: np.ndarray) -> int:
    return int(np.sum(np.unique(labels) % seams.DIVISOR > 0))


class Comparison:
    """Tiles against the whole, on mosaics of n * n examples."""

    def __init__(self, model: Any, options: LargeOptions):
        """Compares nothing yet.

        Args:
            model: The model, a `TileModel`.
            options: Tiles.
        """
        self._model, self._options = model, options
        dataset = dataclasses.replace(
            model.system.descriptor, label_divisor=seams.DIVISOR
        )
        self._quality = {
            name: panoptic_quality.PanopticQuality(dataset)
            for name in ("whole", "tiles", "tiles against whole")
        }
        self._counts: collections.Counter[str] = collections.Counter()
        self._seams: list[float] = []
        self._number = 0

    def add(self, examples: list[Example]) -> None:
        """Adds a mosaic."""
        system = self._model.system
        pixels, truth = make_mosaic(examples, system.descriptor.label_divisor)
        whole, tiled, tiling = self._predict(ArrayImage(pixels))
        self._number = round(len(examples) ** 0.5)
        self._quality["whole"].update(truth, whole)
        self._quality["tiles"].update(truth, tiled)
        self._quality["tiles against whole"].update(whole, tiled)
        lines = seams.find_lines(tiling, truth.shape)
        split, cut = seams.count_cut(whole, tiled, lines)
        self._counts.update(
            {
                "mosaics": 1,
                "objects": _count_objects(truth),
                "found, whole": _count_objects(whole),
                "found, tiles": _count_objects(tiled),
                "split": split,
                "cut": cut,
            }
        )
        self._seams.append(1 - np.mean(~lines[0]) * np.mean(~lines[1]))

    def _predict(
        self, image: ArrayImage
    ) -> tuple[np.ndarray, np.ndarray, tiling_lib.Tiling]:
        """Returns the labels of the whole and of the tiles, and the tiles."""
        from deeplab2_like.large_images import peaks

        model, options, system = self._model, self._options, self._model.system
        seen = scaled.ScaledImage(image, model.preprocessing.input_scale_factor)
        size = (seen.height, seen.width)
        side = sizes_lib.legal_canvas(
            max(size),
            system.output_stride,
            model.preprocessing.canvas_remainder,
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
        return (
            whole,
            tiled,
            tiling_lib.make_tiling(
                size, options.tile, shared, system.output_stride
            ),
        )

    def row(self) -> dict[str, Any]:
        """Returns the figures of all mosaics by name."""
        counts = self._counts
        row: dict[str, Any] = {
            "mosaic": f"{self._number} x {self._number}",
            "mosaics": counts["mosaics"],
            "objects": counts["objects"],
        }
        for name in ("whole", "tiles"):
            result = self._quality[name].result()
            row[f"PQ, {name}"] = 100 * result.all.pq
            row[f"PQ of things, {name}"] = 100 * result.things.pq
            row[f"found, {name}"] = counts[f"found, {name}"]
        against = self._quality["tiles against whole"].result()
        row["tiles against whole: PQ"] = 100 * against.all.pq
        row["split"], row["cut"] = counts["split"], counts["cut"]
        row["% of pixels at seams"] = 100 * float(np.mean(self._seams))
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
        comparison = Comparison(model, options)
        for _ in range(_REPEAT.value):
            comparison.add(list(itertools.islice(source, number * number)))
        rows.append(comparison.row())
    tables.print_table(rows)


if __name__ == "__main__":
    program.run(_main, _FLAGS)
