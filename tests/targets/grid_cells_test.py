# SPDX-License-Identifier: Apache-2.0
"""Cells that stand for objects, against a twin in plain Python."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.targets import grid_cells

RULES = grid_cells.GridRules(
    grids=(10, 6, 3), ranges=((1, 30), (20, 60), (50, 300)), max_pairs=40
)
SIZE = (65, 97)
SLOTS = 6


def _make_objects(rng):
    box = np.sort(rng.uniform(0, 64, (SLOTS, 2, 2)), axis=1).reshape(-1, 4)
    if rng.random() < 0.3:
        box[1] = box[0]
    center = (box[:, :2] + box[:, 2:]) / 2 + rng.normal(0, 3, (SLOTS, 2))
    center = np.clip(center, 0, np.array(SIZE) - 1)
    category = rng.integers(-1, 3, SLOTS)
    return grid_cells.Objects(
        center.astype(np.float32),
        box.astype(np.float32),
        category.astype(np.int32),
    )


def _assign_twin(objects, rules=RULES):
    """Lists (cell, slot), and gives the class of each cell."""
    pairs, classes = [], np.full(rules.num_cells, -1)
    for side, limits, first in zip(
        rules.grids, rules.ranges, rules.first_cells, strict=True
    ):
        for slot in range(SLOTS):
            y1, x1, y2, x2 = objects.box[slot]
            root = np.sqrt((y2 - y1) * (x2 - x1))
            is_of_grid = limits[0] <= root <= limits[1]
            if objects.category[slot] < 0 or not is_of_grid:
                continue
            spans = []
            for axis, extent in enumerate((y2 - y1, x2 - x1)):
                center = objects.center[slot][axis]
                half = extent * 0.1
                scale = side / SIZE[axis]
                cell = int(np.floor(center * scale))
                low = int(np.floor((center - half) * scale))
                high = int(np.floor((center + half) * scale))
                spans.append(
                    range(
                        max(0, low, cell - 1),
                        min(side - 1, high, cell + 1) + 1,
                    )
                )
            for y in spans[0]:
                for x in spans[1]:
                    pairs.append((first + y * side + x, slot))
                    classes[first + y * side + x] = objects.category[slot]
    return pairs, classes


def _compute(mode, rules=RULES):
    def compute(objects):
        return grid_cells.compute_cell_targets(objects, SIZE, rules)

    if mode == "eager":
        return compute
    return tf.function(compute, jit_compile=mode == "xla", autograph=False)


def _list_pairs(targets):
    is_mask = targets["is_mask"].numpy()
    return list(
        zip(
            targets["mask_cell"].numpy()[is_mask].tolist(),
            targets["mask_slot"].numpy()[is_mask].tolist(),
            strict=True,
        )
    )


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
def test_many_cases_equal_the_twin(mode):
    compute = _compute(mode)
    rng = np.random.default_rng(0)
    for _ in range(20 if mode == "eager" else 100):
        objects = _make_objects(rng)
        targets = compute(
            grid_cells.Objects(*(tf.constant(x) for x in objects))
        )
        pairs, classes = _assign_twin(objects)
        np.testing.assert_array_equal(targets["cell_class"], classes)
        assert targets["num_pairs"] == len(pairs)
        if len(pairs) <= RULES.max_pairs:
            assert _list_pairs(targets) == pairs
        else:
            assert len(_list_pairs(targets)) == RULES.max_pairs
            assert set(_list_pairs(targets)) <= set(pairs)


def test_of_too_many_pairs_every_object_keeps_some():
    center = np.stack(np.meshgrid(range(8, 60, 6), range(8, 92, 6)), axis=-1)
    center = center.reshape(-1, 2).astype(np.float32)
    box = np.concatenate([center - 11, center + 11], axis=1)
    number = len(center)
    for share in (0.5, 1.0, 1.5):
        rules = grid_cells.GridRules(
            int(share * number), (40, 20), ((1, 96), (1, 96)), 0.2
        )
        targets = grid_cells.compute_cell_targets(
            grid_cells.Objects(
                tf.constant(center),
                tf.constant(box),
                tf.zeros([number], tf.int32),
            ),
            SIZE,
            rules,
        )
        pairs = _list_pairs(targets)
        assert len(pairs) == rules.max_pairs
        assert targets["num_pairs"] > rules.max_pairs
        counts = np.bincount([slot for _, slot in pairs], minlength=number)
        assert counts.min() == int(share)
        assert counts.max() == int(np.ceil(share))
        # Not only those at the top.
        halves = counts[: number // 2].sum(), counts[number // 2 :].sum()
        assert abs(halves[0] - halves[1]) <= 0.1 * number


def test_of_too_many_pairs_every_object_keeps_its_center():
    center = np.array([[12, 12], [30, 30], [50, 80]], np.float32)
    box = np.concatenate([center - 11, center + 11], axis=1)
    objects = grid_cells.Objects(
        tf.constant(center), tf.constant(box), tf.constant([0, 1, 2])
    )
    rules = grid_cells.GridRules(4, (40,), ((1, 96),), 0.5)
    targets = grid_cells.compute_cell_targets(objects, SIZE, rules)
    pairs = _list_pairs(targets)
    assert len(pairs) == 4
    assert {slot for _, slot in pairs} == {0, 1, 2}
    everything = grid_cells.compute_cell_targets(
        objects, SIZE, grid_cells.GridRules(500, (40,), ((1, 96),), 0.5)
    )
    assert len(_list_pairs(everything)) > 4
    assert everything["mask_cell"].shape == (500,)
    assert set(pairs) <= set(_list_pairs(everything))


def test_no_objects_give_no_pairs():
    objects = grid_cells.Objects(
        tf.zeros([SLOTS, 2]), tf.zeros([SLOTS, 4]), tf.fill([SLOTS], -1)
    )
    targets = grid_cells.compute_cell_targets(objects, SIZE, RULES)
    assert not targets["is_mask"].numpy().any()
    np.testing.assert_array_equal(targets["cell_class"], -1)


def test_centers_are_means_of_pixels():
    rng = np.random.default_rng(1)
    instance = rng.integers(0, 4, (20, 30)).astype(np.int32)
    centers = grid_cells.find_centers(tf.constant(instance), 5)
    for slot in range(5):
        pixels = np.argwhere(instance == slot + 1)
        expected = pixels.mean(axis=0) if len(pixels) else [0, 0]
        np.testing.assert_allclose(centers[slot], expected, rtol=1e-6)


@pytest.mark.parametrize("size", [(64, 96), (65, 97), (66, 96)])
def test_masks_are_where_the_features_are(size):
    shape = tuple((side - 1) // 4 + 1 for side in size)
    y = np.arange(size[0])[:, None] * np.ones(size[1], int)
    instance = (y >= 30).astype(np.int32)[None]
    shrunk = grid_cells.shrink_instances(tf.constant(instance), shape)
    masks = grid_cells.compute_mask_targets(shrunk, tf.constant([[0, 1]]))
    assert masks.shape == (1, 2, *shape)
    # The pixels at 4 i + 1 and 4 i + 2 of 64, else the pixel 4 i.
    first = 7 if size[0] == 64 else 8
    np.testing.assert_array_equal(
        masks[0, 0], (np.arange(shape[0]) >= first)[:, None].repeat(shape[1], 1)
    )
    assert not masks[0, 1].numpy().any()


def test_grids_without_ranges_are_refused():
    with pytest.raises(ValueError, match="one range for each grid"):
        grid_cells.GridRules(9, grids=(3, 4), ranges=((1, 2),))
