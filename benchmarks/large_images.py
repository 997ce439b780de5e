# SPDX-License-Identifier: Apache-2.0
"""Time and memory of large images, and what kills change.

    python benchmarks/large_images.py --sides=5000,10000 --work=/big/disk
    python benchmarks/large_images.py --sides=5000 --kills=5

measures images of discs that are drawn when they are read, each in a process of
its own. Without --model a network of a few operations reads classes, centers
and offsets from the colors, so that the time is that of everything but a real
network, and all discs must be found, each once.

With --kills each image is predicted again, by a process that is killed with
SIGKILL at random moments and started again with the same work files; the table
says how often it was killed, and whether all labels and the table of segments
are the same. `tile_mosaics.py` compares tiles with the whole.
"""

import dataclasses
import hashlib
import json
import pathlib
import random
import resource
import subprocess
import sys
import tempfile
import time
import types
from typing import Any

import numpy as np
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import tables  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import (  # noqa: E402
    native_logs,
    path_flags,
    program,
    progress,
)
from deeplab2_like.labels import descriptor as descriptor_lib  # noqa: E402
from deeplab2_like.large_images.options import AUTO, LargeOptions  # noqa: E402
from deeplab2_like.large_images.result import LargeResult  # noqa: E402
from deeplab2_like.large_images.source import (  # noqa: E402
    LargeImage,
    Window,
)
from deeplab2_like.storage import file_identity  # noqa: E402

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_SIDES = flags.DEFINE_list(
    "sides",
    ["2000"],
    "Sides of drawn images in pixels.",
    flag_values=_FLAGS,
)
_KILLS = flags.DEFINE_integer(
    "kills",
    0,
    "How often the prediction of each image is killed, in a second one.",
    lower_bound=0,
    flag_values=_FLAGS,
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
_SIDE = flags.DEFINE_integer(
    "side", None, "Draw this one in this process.", flag_values=_FLAGS
)
_SEED = 1

# Discs of the drawn images have a cell of this side each.
CELL = 64
_STRIDE = 4


class DrawnImage(LargeImage):
    """A disc in each cell, drawn when it is read.

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
    digest, labeled = _hash(result)
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
        "digest": digest,
    }


def _read_peak() -> float:
    """Returns the most memory of this process so far, in 10**6 bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _hash(result: LargeResult) -> tuple[str, int]:
    """Returns a hash of labels and table, and how many pixels are labeled."""
    found = hashlib.sha256()
    labeled, height = 0, result.labels.height
    step = max(1, (1 << 22) // result.labels.width)
    for top in range(0, height, step):
        rows = result.labels.read(top, min(top + step, height))
        found.update(rows.tobytes())
        labeled += int(np.count_nonzero(rows))
    for values in dataclasses.asdict(result.segments).values():
        found.update(values.tobytes())
    return found.hexdigest(), labeled


def _start(side: int, work: str) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, *sys.argv[1:]]
    command += [f"--side={side}", f"--work={work}"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    output, _ = process.communicate()
    if process.returncode:
        raise errors.UserError(
            f"The prediction ended with code {process.returncode}: see above."
        )
    row: dict[str, Any] = json.loads(output.splitlines()[-1])
    return row


def _measure_apart(side: int, kills: int) -> dict[str, Any]:
    """Predicts in a process; then in one that is killed, if asked for."""
    with tempfile.TemporaryDirectory(dir=_WORK.value) as work:
        start = time.monotonic()
        row = _finish(_start(side, work))
        seconds = time.monotonic() - start
    if _MODEL.value is None:
        row["discs"] = DrawnImage(side, side).count_discs()
    digest = row.pop("digest")
    if not kills:
        return row
    dice, done = random.Random(_SEED), 0
    before = seconds - row["seconds"]  # Until the prediction begins.
    with tempfile.TemporaryDirectory(dir=_WORK.value) as work:
        for _ in range(kills):
            process = _start(side, work)
            try:
                share = dice.uniform(0.2, 1) / kills
                process.wait(before + share * row["seconds"])
                break
            except subprocess.TimeoutExpired:
                process.kill()
                process.communicate()
                done += 1
        else:
            process = _start(side, work)
        again = _finish(process)
    row["kills"], row["same"] = done, again["digest"] == digest
    return row


def _main(arguments: list[str]) -> None:
    program.refuse_arguments(arguments)
    options = LargeOptions.parse(_TILE.value, _OVERLAP.value)
    if _SIDE.value:
        print(json.dumps(measure(_SIDE.value, options, str(_WORK.value))))
        return
    sides = tables.read_numbers(_SIDES.value, "sides")
    tables.print_table([_measure_apart(side, _KILLS.value) for side in sides])


if __name__ == "__main__":
    program.run(_main, _FLAGS)
