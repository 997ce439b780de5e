# SPDX-License-Identifier: Apache-2.0
"""Measures post-processing where it could be slow or large.

    python benchmarks/worst_cases.py

From head outputs, at 1024x2048 unless the name says otherwise. A case is
bounded if its time is a few times that of 30 instances (for more pixels,
in proportion to them), and its memory is in proportion to the pixels of one
image.
"""

import pathlib
import sys
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import inputs, measuring, postprocessing, running  # noqa: E402

_LARGE = (4096, 8192)
_BATCH = 8


def _load(instances: int, size: tuple[int, int] = inputs.SIZE):
    folder = running.inputs_folder() if size == inputs.SIZE else None
    return inputs.load_network_maps(folder, instances, size)


def _no_instance() -> inputs.HeadOutputs:
    maps = _load(30)
    return inputs.make_head_outputs(
        maps._replace(heatmap=np.zeros_like(maps.heatmap))
    )


def _no_instance_and_no_thing() -> inputs.HeadOutputs:
    maps = _load(30)
    return inputs.make_head_outputs(
        maps._replace(
            heatmap=np.zeros_like(maps.heatmap),
            semantic=np.zeros_like(maps.semantic),
        )
    )


def _more_than_k_centers() -> inputs.HeadOutputs:
    """Makes every 16th pixel a peak, and all offsets noise."""
    maps = _load(200)
    heatmap = np.zeros_like(maps.heatmap)
    peaks = heatmap[::16, ::16]
    peaks[...] = np.random.default_rng(0).uniform(0.5, 1.0, peaks.shape)
    return inputs.make_head_outputs(
        maps._replace(heatmap=heatmap, semantic=np.full_like(maps.semantic, 13))
    )


def _one_everywhere() -> inputs.HeadOutputs:
    """Makes the offsets of all pixels point to one center in the middle."""
    height, width = inputs.SIZE
    heatmap = np.zeros(inputs.SIZE, np.float32)
    center = height // 2, width // 2
    heatmap[center] = 0.9
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return inputs.make_head_outputs(
        inputs.NetworkMaps(
            np.full(inputs.SIZE, 13, np.uint8),
            heatmap,
            np.stack([center[0] - y, center[1] - x], axis=-1),
        )
    )


def _votes_all_over() -> inputs.HeadOutputs:
    """Makes 200 centers, and offsets that point anywhere in the image.

    Then no center can be left out in any tile.
    """
    maps = _load(200)
    generator = np.random.default_rng(0)
    offset = generator.uniform(-1, 1, maps.offset.shape).astype(np.float32)
    offset *= np.array(inputs.SIZE, np.float32)
    return inputs.make_head_outputs(
        maps._replace(offset=offset, semantic=np.full_like(maps.semantic, 13))
    )


def _not_a_number() -> inputs.HeadOutputs:
    heads = inputs.make_head_outputs(_load(30))
    return inputs.HeadOutputs(*(np.full_like(x, np.nan) for x in heads))


def _large() -> inputs.HeadOutputs:
    return inputs.make_head_outputs(_load(200, _LARGE))


def _batch() -> inputs.HeadOutputs:
    heads = inputs.make_head_outputs(_load(30))
    return inputs.HeadOutputs(*(x.repeat(_BATCH, axis=0) for x in heads))


_CASES: dict[str, Callable[[], inputs.HeadOutputs]] = {
    "no_instance": _no_instance,
    "no_instance_and_no_thing": _no_instance_and_no_thing,
    "200_instances": lambda: inputs.make_head_outputs(_load(200)),
    "more_than_k_centers": _more_than_k_centers,
    "one_instance_everywhere": _one_everywhere,
    "votes_all_over_200_centers": _votes_all_over,
    "not_a_number": _not_a_number,
    f"{_LARGE[0]}x{_LARGE[1]}": _large,
    f"batch_{_BATCH}": _batch,
}


def _measure(name: str) -> Iterator[measuring.Measurement]:
    tensors = [tf.constant(values) for values in _CASES[name]()]
    batch, height, width, _ = tensors[0].shape
    size = (4 * (height - 1), 4 * (width - 1))
    process = postprocessing.make_function((size[0] + 1, size[1] + 1))
    valid_size = tf.constant([size] * batch)
    yield measuring.measure(
        f"worst_case/{name}",
        lambda: process(*tensors, valid_size=valid_size),
        sizes={"height": size[0], "width": size[1], "batch": batch},
        effort=running.effort(),
        memory=running.memory_of_case(),
    )


def _make_case(name: str) -> running.Case:
    return running.Case(lambda: _measure(name), has_memory_apart=True)


if __name__ == "__main__":
    running.run({name: _make_case(name) for name in _CASES})
