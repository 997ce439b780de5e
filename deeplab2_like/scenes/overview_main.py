# SPDX-License-Identifier: Apache-2.0
"""Draws examples of `scenes` in one picture.

    python -m deeplab2_like.scenes.overview_main --out=scenes.jpg

writes scenes below each other, each with its labels beside it.
"""

from collections.abc import Sequence

import numpy as np
from absl import flags
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.console import path_flags, program
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.scenes import scene as scene_lib
from deeplab2_like.visualize import visualizer

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_OUT = path_flags.define(
    "out", None, "The picture, PNG or JPEG. Required.", flag_values=_FLAGS
)
_SEEDS = flags.DEFINE_list(
    "seeds", ["0", "15", "20", "11"], "Scenes to show.", flag_values=_FLAGS
)

_SIZE = (257, 513)
_GAP = 6
_JPEG_QUALITY = 85


def make_overview(seeds: Sequence[int]) -> np.ndarray:
    """Draws scenes below each other, with their labels beside them.

    Args:
        seeds: Seeds of the scenes, at least one.

    Returns:
        uint8 [H, W, 3].
    """
    descriptor = descriptor_lib.load("scenes")
    rows = []
    for seed in seeds:
        scene = scene_lib.make_scene(seed, _SIZE)
        label = visualizer.visualize(
            scene.image, scene.panoptic, descriptor, scale=1, legend=False
        )
        column = np.full((_SIZE[0], _GAP, 3), 255, np.uint8)
        rows.append(np.concatenate([scene.image, column, label], axis=1))
        rows.append(np.full((_GAP, rows[-1].shape[1], 3), 255, np.uint8))
    return np.concatenate(rows[:-1])


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    out = program.require(_OUT, "the file to write", "scenes.jpg")
    if not _SEEDS.value or not all(seed.isdigit() for seed in _SEEDS.value):
        raise errors.ConfigError(
            f"--seeds={','.join(_SEEDS.value)} is not a list of integers >= 0,"
            " for example --seeds=3,5,8."
        )
    picture = make_overview([int(seed) for seed in _SEEDS.value])
    Image.fromarray(picture).save(out, quality=_JPEG_QUALITY)
    print(out)


def cli() -> None:
    """Draws the picture of `scenes`."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
