# SPDX-License-Identifier: Apache-2.0
"""The baseline of `scenes`: a table of colors and connected components.

    python benchmarks/scenes_baseline.py

A network has to exceed the best of all variants. Needs no network and no
accelerator; takes half a minute.
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
from deeplab2_like.scenes import baseline  # noqa: E402

_TRAIN = flags.DEFINE_integer(
    "train", 200, "Scenes to learn from.", lower_bound=1
)
_VAL = flags.DEFINE_integer(
    "val", 100, "Scenes of other seeds to score.", lower_bound=1
)


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    height, width = baseline.SIZE
    start = time.perf_counter()
    results = baseline.score_colors(_TRAIN.value, _VAL.value)
    print(
        f"{platform.machine()}, Python {platform.python_version()}, NumPy"
        f" {np.__version__}; {_TRAIN.value} scenes learned, {_VAL.value}"
        f" scored, {height}x{width},"
        f" {time.perf_counter() - start:.0f} s"
    )
    print(f"{'table':12} {'min area':>8} {'PQ':>6} {'things':>6} {'stuff':>6}")
    for (name, area), result in results.items():
        scores = (result.all.pq, result.things.pq, result.stuff.pq)
        print(f"{name:12} {area:8}", *(f"{100 * pq:6.1f}" for pq in scores))
    best = max(results, key=lambda key: results[key].all.pq)
    print(f"\nBest: {best[0]}, min area {best[1]}")
    print(results[best].table())
    print(f"PQ={results[best].all.pq:.3f}")


if __name__ == "__main__":
    program.run(_main)
