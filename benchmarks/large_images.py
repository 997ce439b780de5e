# SPDX-License-Identifier: Apache-2.0
"""Time and memory of large images, and how tiles compare with the whole.

    python benchmarks/large_images.py --sides=5000,10000 --work=/big/disk
    python benchmarks/large_images.py --model=saved --mosaics=2,4,8
    python benchmarks/large_images.py --model=run --mosaics=2,4 --images=photos

The first measures images of discs that are drawn when they are read, each in a
process of its own. Without --model a network of a few operations reads classes,
centers and offsets from the colors, so that the time is that of everything but
a real network, and all discs must be found, each once.

The second compares, on mosaics of n x n scenes (or images of --images, for
which the whole is the truth), the segments of an image in tiles with those of
the same image in a single tile, with the same limit of instances: PQ of both,
and how many objects of the whole, of 20 pixels or more, are split in tiles: two
objects have a tenth of it or more each. An object is cut by a seam if half of
the border between its parts lies where tiles meet: in the middle of what they
share, or where the weight of one becomes 0, give or take two pixels.
"""

import dataclasses
import json
import pathlib
import resource
import subprocess
import sys
import tempfile
import time
import types
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like import errors  # noqa: E402
from deeplab2_like.config import sizes as sizes_lib  # noqa: E402
from deeplab2_like.console import (  # noqa: E402
    native_logs,
    path_flags,
    program,
    progress,
)
from deeplab2_like.labels import descriptor as descriptor_lib  # noqa: E402
from deeplab2_like.large_images import tiling as tiling_lib  # noqa: E402
from deeplab2_like.large_images.options import AUTO, LargeOptions  # noqa: E402
from deeplab2_like.large_images.result import LargeResult  # noqa: E402
from deeplab2_like.large_images.source import Window  # noqa: E402
from deeplab2_like.metrics import overlaps, panoptic_quality  # noqa: E402
from deeplab2_like.scenes import scene  # noqa: E402
from deeplab2_like.storage import file_identity, image_files  # noqa: E402

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_SIDES = flags.DEFINE_list(
    "sides", [], "Sides of drawn images in pixels.", flag_values=_FLAGS
)
_TILE = flags.DEFINE_integer(
    "tile", 1025, "Side of the tiles in pixels.", flag_values=_FLAGS
)
_OVERLAP = flags.DEFINE_string(
    "overlap", AUTO, "As of deeplab2-predict.", flag_values=_FLAGS
)
_MODEL = path_flags.define(
    "model",
    None,
    "Folder of a run, or of an export with --tile_function; a network of a few "
    "operations when not given.",
    holds_checkpoint=True,
    flag_values=_FLAGS,
)
_WORK = path_flags.define(
    "work", None, "Folder of the work files; temporary.", flag_values=_FLAGS
)
_MOSAICS = flags.DEFINE_list(
    "mosaics", [], "Images on a side of each mosaic.", flag_values=_FLAGS
)
_IMAGES = path_flags.define_list(
    "images", "Images of the mosaics; scenes if unset.", flag_values=_FLAGS
)
_SIDE = flags.DEFINE_integer(
    "side", None, "Draw this one in this process.", flag_values=_FLAGS
)

# Discs of the drawn images have a cell of this side each.
CELL = 64
_STRIDE = 4
_SMALLEST = 20


class DrawnImage:
    """A disc in each cell, drawn when it is read; a `LargeImage`.

    Red says whether a pixel is of a disc, green and blue how far its center is
    down and to the right, plus 128.
    """

    path = "drawn discs"

    def __init__(self, height: int, width: int):
        """Stores the size."""
        self.height, self.width = height, width

    def read(self, top: int, left: int, bottom: int, right: int) -> Window:
        """Draws a part."""
        y = np.arange(top, bottom)[:, np.newaxis]
        x = np.arange(left, right)
        number = _number(y // CELL, x // CELL)
        center_y, center_x = _place_center(number)
        down, across = center_y - y % CELL, center_x - x % CELL
        radius = 9 + number % 11
        is_disc = down**2 + across**2 <= radius**2
        image = np.empty((bottom - top, right - left, 3), np.uint8)
        image[..., 0] = np.where(is_disc, 255, 0)
        image[..., 1], image[..., 2] = down + 128, across + 128
        return Window(image)

    def describe(self) -> file_identity.Source:
        """Describes the image."""
        return file_identity.Source(self.path, self.height * self.width, 0)

    def count_discs(self) -> int:
        """Counts the discs whose centers lie in the image."""
        row = np.arange(-(-self.height // CELL))[:, np.newaxis]
        column = np.arange(-(-self.width // CELL))
        y, x = _place_center(_number(row, column))
        is_inside = row * CELL + y < self.height
        return int(np.sum(is_inside & (column * CELL + x < self.width)))


def _number(row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Returns a number for each cell, by which its disc is drawn."""
    return (row * 7919 + column * 104729) % 997


def _place_center(number: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Returns row and column in the cell, both of head positions."""
    return 24 + number % 4 * _STRIDE, 24 + number // 4 % 4 * _STRIDE


def make_synthetic() -> Any:
    """Returns a `TileModel` that reads what `DrawnImage` draws."""
    import tensorflow as tf

    from deeplab2_like.data import preprocessing
    from deeplab2_like.large_images import network
    from deeplab2_like.postprocess import options

    dataset = descriptor_lib.make(["ground"], ["disc"])

    def infer(canvas_bhw3: tf.Tensor) -> dict[str, tf.Tensor]:
        pixels = canvas_bhw3[:, ::_STRIDE, ::_STRIDE]
        is_disc = pixels[..., :1] / 255.0
        offset = (pixels[..., 1:] - 128.0) / _STRIDE
        squared = tf.reduce_sum(offset**2, axis=-1, keepdims=True)
        return {
            "center_heatmap": tf.exp(-squared) * is_disc,
            "offset_map": offset,
            "semantic_logits": tf.concat([4 - 8 * is_disc, 8 * is_disc - 4], 3),
        }

    system = types.SimpleNamespace(
        output_stride=32,
        descriptor=dataset,
        pixel_rules=options.PixelRules(
            options.ClassRules.from_descriptor(dataset),
            options.CenterRules(0.5, 13, 400),
        ),
    )
    return network.TileModel(
        system, preprocessing.Preprocessing((33, 33)), infer, "synthetic"
    )


def _load_model() -> Any:
    native_logs.load_tensorflow()
    if _MODEL.value is None:
        return make_synthetic()
    from deeplab2_like.predict import panoptic_model

    with native_logs.hide_routine():
        return panoptic_model.load_model(_MODEL.value).tile_model()


def measure(side: int, options: LargeOptions, work: str) -> dict[str, Any]:
    """Predicts a drawn image of a side, and reads all labels."""
    model = _load_model()
    from deeplab2_like.large_images import predicting, work_folder

    image = DrawnImage(side, side)
    folder = pathlib.Path(work) / f"side_{side}"
    before = _read_peak()
    start = time.monotonic()
    result = predicting.predict_large(
        model, image, options, folder, progress.Progress()
    )
    predicted = time.monotonic() - start
    step = max(1, (1 << 22) // side)
    labeled = sum(
        int(np.count_nonzero(result.labels.read(top, min(top + step, side))))
        for top in range(0, side, step)
    )
    seconds = time.monotonic() - start
    work_folder.clear(folder)
    return {
        "side": side,
        "megapixels": side * side / 1e6,
        "seconds": seconds,
        "reading": seconds - predicted,
        "seconds_per_gigapixel": seconds / (side * side / 1e9),
        "peak_mb": _read_peak(),
        "before_mb": before,
        "objects": int(result.segments.is_thing.sum()),
        "labeled": labeled,
    }


def _read_peak() -> float:
    """Returns the most memory of this process so far, in 10**6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def make_mosaic(
    number: int, draw: Callable[[int], tuple[np.ndarray, np.ndarray | None]]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Makes a mosaic of number x number images, and its truth if there is one.

    Args:
        number: Images on a side.
        draw: Function from the number of an image to its pixels, all of one
            size, and its label; see `scene.Scene`.
    """
    drawn = [draw(index) for index in range(number * number)]
    height, width = drawn[0][0].shape[:2]
    pixels = np.zeros((number * height, number * width, 3), np.uint8)
    truth = np.zeros(pixels.shape[:2], np.int64)
    used = 0
    for index, (image, label) in enumerate(drawn):
        y, x = index // number * height, index % number * width
        pixels[y : y + height, x : x + width] = image
        if label is not None:
            category, instance = np.divmod(label, scene.LABEL_DIVISOR)
            instance = np.where(instance > 0, instance + used, 0)
            used = max(used, int(instance.max()))
            truth[y : y + height, x : x + width] = (
                category * _DIVISOR + instance
            )
    return pixels, None if drawn[0][1] is None else truth


# Of labels of mosaics, which have many instances.
_DIVISOR = 1 << 20


class _ArrayImage:
    """An image in memory; a `LargeImage`."""

    path = "mosaic"

    def __init__(self, pixels: np.ndarray):
        self._pixels = pixels
        self.height, self.width = pixels.shape[:2]

    def read(self, top: int, left: int, bottom: int, right: int) -> Window:
        return Window(self._pixels[top:bottom, left:right])

    def describe(self) -> file_identity.Source:
        return file_identity.Source(self.path, self._pixels.size, 0)


def to_labels(result: LargeResult, ignore_label: int) -> np.ndarray:
    """Returns int64 [H, W], class * _DIVISOR + instance."""
    segments = result.segments
    instance = np.where(segments.is_thing, segments.id, 0).astype(np.int64)
    table = np.concatenate(
        [[ignore_label * _DIVISOR], segments.category * _DIVISOR + instance]
    )
    return table[result.labels.read(0, result.labels.height)]


def find_lines(tiling: tiling_lib.Tiling) -> tuple[np.ndarray, np.ndarray]:
    """Returns which rows and columns lie where tiles meet: bool [H], [W]."""
    found = []
    for axis in (tiling.rows, tiling.columns):
        is_line = np.zeros(axis.length, bool)
        for index, start in enumerate(axis.starts):
            used = np.flatnonzero(axis.weigh(index, _STRIDE)) * _STRIDE + start
            last = used[-1] if index + 1 < len(axis.starts) else 0
            for place in (used[0], last, axis.find_own(index)[0]):
                if place > 0:
                    is_line[max(place - 2, 0) : place + 2] = True
        found.append(is_line)
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


def compare(
    model: Any,
    number: int,
    draw: Callable[[int], tuple[np.ndarray, np.ndarray | None]],
    options: LargeOptions,
) -> dict[str, Any]:
    """Compares tiles with the whole on a mosaic."""
    from deeplab2_like.large_images import peaks, predicting

    pixels, truth = make_mosaic(number, draw)
    image = _ArrayImage(pixels)
    system = model.system
    side = sizes_lib.legal_canvas(
        max(pixels.shape[:2]),
        system.output_stride,
        model.preprocessing.canvas_remainder,
    )
    whole_model = model
    if system.pixel_rules is not None and system.pixel_rules.centers:
        classes, centers = system.pixel_rules
        limit = peaks.scale_limit(centers.limit, pixels.shape[:2], options.tile)
        centers = dataclasses.replace(centers, keep_k_centers=limit)
        whole_model = dataclasses.replace(
            model,
            system=types.SimpleNamespace(
                pixel_rules=type(system.pixel_rules)(classes, centers),
                output_stride=system.output_stride,
                descriptor=system.descriptor,
            ),
        )
    dataset = dataclasses.replace(system.descriptor, label_divisor=_DIVISOR)
    labels = []
    for one, cut in (
        (whole_model, dataclasses.replace(options, tile=side, overlap=None)),
        (model, options),
    ):
        with tempfile.TemporaryDirectory() as work:
            result = predicting.predict_large(
                one, image, cut, work, progress.Progress()
            )
            labels.append(to_labels(result, dataset.ignore_label))
            notes = json.loads((pathlib.Path(work) / "notes.json").read_text())
    whole, tiled = labels
    shared = options.overlap
    tiling = tiling_lib.make_tiling(
        pixels.shape[:2],
        options.tile,
        notes.get("overlap", options.tile // 4) if shared is None else shared,
        system.output_stride,
    )
    row: dict[str, Any] = {"mosaic": f"{number} x {number}"}
    for name, true, found in (
        ("whole", truth, whole),
        ("tiled", truth, tiled),
        ("tiled against whole", whole, tiled),
    ):
        if true is not None:
            quality = panoptic_quality.PanopticQuality(dataset)
            quality.update(true, found)
            row[name] = 100 * quality.result().all.pq
    row["split"], row["cut"] = count_cut(whole, tiled, find_lines(tiling))
    row["objects"] = int(np.sum(np.unique(whole) % _DIVISOR > 0))
    row["equal pixels"] = 100 * float(np.mean(whole == tiled))
    return row


def _draw_scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    # Seeds that the demo neither trains on nor evaluates.
    drawn = scene.make_scene(10**6 + index)
    return drawn.image, drawn.panoptic


def _make_reader(
    paths: Sequence[str],
) -> Callable[[int], tuple[np.ndarray, None]]:
    files = image_files.find_images(paths)
    first = image_files.load_image(files[0].path)

    def read(index: int) -> tuple[np.ndarray, None]:
        image = image_files.load_image(files[index % len(files)].path)
        pixels = np.zeros_like(first)
        height, width = np.minimum(image.shape[:2], first.shape[:2])
        pixels[:height, :width] = image[:height, :width]
        return pixels, None

    return read


def _read_numbers(values: Sequence[str], name: str) -> list[int]:
    try:
        numbers = [int(value) for value in values]
    except ValueError:
        numbers = [0]
    if any(number < 1 for number in numbers):
        raise errors.ConfigError(
            f"--{name}={','.join(values)} must be whole numbers above 0, such "
            "as 2,4."
        )
    return numbers


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    names = list(rows[0])
    print("| " + " | ".join(names) + " |")
    print("|" + "---|" * len(names))
    for row in rows:
        cells = (
            f"{v:.1f}" if isinstance(v, float) else str(v) for v in row.values()
        )
        print("| " + " | ".join(cells) + " |")


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    options = LargeOptions.parse(_TILE.value, _OVERLAP.value)
    if _SIDE.value:
        print(json.dumps(measure(_SIDE.value, options, str(_WORK.value))))
        return
    sides = _read_numbers(_SIDES.value, "sides")
    mosaics = _read_numbers(_MOSAICS.value, "mosaics")
    rows = []
    with tempfile.TemporaryDirectory(dir=_WORK.value) as work:
        for side in sides:
            command = [sys.executable, __file__, *sys.argv[1:]]
            command += [f"--side={side}", f"--work={work}"]
            done = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, check=True
            )
            rows.append(json.loads(done.stdout.splitlines()[-1]))
            if _MODEL.value is None:
                rows[-1]["discs"] = DrawnImage(side, side).count_discs()
    if rows:
        _print_table(rows)
    if not mosaics:
        return
    model = _load_model()
    draw = _make_reader(_IMAGES.value) if _IMAGES.value else _draw_scene
    _print_table([compare(model, n, draw, options) for n in mosaics])


if __name__ == "__main__":
    program.run(_main, _FLAGS)
