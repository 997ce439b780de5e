# SPDX-License-Identifier: Apache-2.0
"""Statistics of `scenes`: drawing speed, classes and instances.

    python benchmarks/scenes_statistics.py

Speed is in images a second of processor time of one core.
"""

import pathlib
import platform
import sys
import time
from collections.abc import Sequence

import numpy as np
from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like.console import program  # noqa: E402
from deeplab2_like.scenes import scene  # noqa: E402

_COUNT = flags.DEFINE_integer("count", 200, "Scenes to count.", lower_bound=1)

_SIZE = (129, 257)
_SPEED_SIZES = {(129, 257): 100, (257, 513): 30, (1024, 2048): 3}


def _print_speed() -> None:
    scene.make_scene(0, _SIZE)
    for size, count in _SPEED_SIZES.items():
        start = time.process_time()
        for seed in range(count):
            scene.make_scene(seed, size)
        speed = count / (time.process_time() - start)
        print(f"{size[0]}x{size[1]}: {speed:.1f} images a second")


def _print_contents(count: int) -> None:
    shares = np.zeros((scene.NUM_CLASSES + 1, count))
    areas: dict[int, list[int]] = {kind: [] for kind in scene.THING_IDS}
    instances, crowds = np.zeros(count), 0
    for index in range(count):
        seed = scene.compute_seed("train", index)
        panoptic = scene.make_scene(seed, _SIZE).panoptic
        labels, sizes = np.unique(panoptic, return_counts=True)
        for label, size in zip(labels.tolist(), sizes.tolist(), strict=True):
            kind, instance = divmod(label, scene.LABEL_DIVISOR)
            shares[min(kind, scene.NUM_CLASSES), index] += size
            if instance:
                areas[kind].append(size)
                instances[index] += 1
            elif kind in scene.THING_IDS:
                crowds += 1
    shares /= _SIZE[0] * _SIZE[1]
    print(f"\n{'class':12}{'pixels %':>9}{'in % of scenes':>16}")
    for name, share in zip((*scene.CLASS_NAMES, "void"), shares, strict=True):
        present = 100 * np.mean(share > 0)
        print(f"{name:12}{100 * share.mean():9.1f}{present:16.0f}")
    print(
        f"\n{'things':12}{'a scene':>9}   area: least, 5 %, median, 95 %, most"
    )
    for kind, instance_areas in areas.items():
        marks = np.percentile(instance_areas, (0, 5, 50, 95, 100)).astype(int)
        text = " ".join(f"{mark:6}" for mark in marks)
        number = len(instance_areas) / count
        print(f"{scene.CLASS_NAMES[kind]:12}{number:9.2f}   {text}")
    print(
        f"{'all':12}{instances.mean():9.2f}   ({instances.min():.0f} to"
        f" {instances.max():.0f} in a scene), crowds {crowds / count:.2f}"
    )


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, NumPy"
        f" {np.__version__}; {_COUNT.value} scenes of {_SIZE[0]}x{_SIZE[1]}"
    )
    _print_speed()
    _print_contents(_COUNT.value)


if __name__ == "__main__":
    program.run(_main)
