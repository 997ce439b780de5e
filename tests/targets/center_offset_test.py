# SPDX-License-Identifier: Apache-2.0
"""Targets against a NumPy twin that goes through the instances one by one."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.targets import center_offset

THINGS = (11, 13)
OPTIONS = {
    "thing_ids": THINGS,
    "ignore_label": 255,
    "label_divisor": 1000,
    "sigma": 2.0,
    "small_instance_threshold": 6,
    "small_instance_weight": 3.0,
}


@tf.function(
    input_signature=[tf.TensorSpec([None, None], tf.int32)], autograph=False
)
def _compute_in_graph(panoptic):
    return center_offset.compute_center_offset_targets(panoptic, **OPTIONS)


def _compute(panoptic, **changes):
    options = {**OPTIONS, **changes}
    targets = center_offset.compute_center_offset_targets(
        tf.constant(panoptic, tf.int32), **options
    )
    return {name: value.numpy() for name, value in targets.items()}


def _round_half_even(total, count):
    quotient, rest = divmod(int(total), int(count))
    if 2 * rest > count or (2 * rest == count and quotient % 2):
        return quotient + 1
    return quotient


def _twin(panoptic, **changes):
    """The definition, an instance at a time and a pixel at a time."""
    o = {**OPTIONS, **changes}
    height, width = panoptic.shape
    category = panoptic // o["label_divisor"]
    is_thing = np.isin(category, o["thing_ids"])
    is_void = category == o["ignore_label"]
    is_numbered = panoptic % o["label_divisor"] != 0
    is_crowd = is_thing & ~is_numbered & ~is_void
    heatmap = np.zeros((height, width), np.float32)
    offset = np.zeros((height, width, 2), np.float32)
    semantic_weight = np.ones((height, width), np.float32)
    thing_mask = np.full((height, width), -1, np.int32)
    thing_classes = []
    reach = int(3 * o["sigma"] + 1)
    _, first = np.unique(panoptic, return_index=True)
    for index in sorted(first):
        value = panoptic.flat[index]
        mask = panoptic == value
        if is_void.flat[index] or not is_numbered.flat[index]:
            continue
        y, x = np.nonzero(mask)
        if len(y) < o["small_instance_threshold"]:
            semantic_weight[mask] = o["small_instance_weight"]
        cy = _round_half_even(y.sum(), len(y))
        cx = _round_half_even(x.sum(), len(x))
        offset[y, x] = np.stack([cy - y, cx - x], -1)
        for py in range(max(0, cy - reach), min(height, cy + reach + 1)):
            for px in range(max(0, cx - reach), min(width, cx + reach + 1)):
                d = (py - cy) ** 2 + (px - cx) ** 2
                value = np.float32(np.exp(-d / (2 * o["sigma"] ** 2)))
                heatmap[py, px] = max(heatmap[py, px], value)
        if is_thing.flat[index]:
            thing_mask[mask] = len(thing_classes)
            thing_classes.append(category.flat[index])
    targets = {
        "semantic": category,
        "panoptic": panoptic,
        "is_crowd": is_crowd,
        "center_heatmap": heatmap,
        "offset_map": offset,
        "semantic_weight": semantic_weight,
        "center_weight": (~is_crowd & ~is_void).astype(np.float32),
        "offset_weight": (is_thing & is_numbered & ~is_void).astype("f4"),
    }
    if "max_thing_id" in o:
        classes = np.full(o["max_thing_id"], -1, np.float32)
        classes[: len(thing_classes)] = thing_classes
        targets |= {"thing_id_mask": thing_mask, "thing_id_class": classes}
    return targets


def _assert_equal_to_twin(panoptic, **changes):
    _assert_equal(_compute(panoptic, **changes), _twin(panoptic, **changes))


def _assert_equal(actual, expected):
    assert actual.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_array_equal(actual[name], value, err_msg=name)
        assert actual[name].dtype == (
            np.int32 if value.dtype.kind == "i" else value.dtype
        )


def _make_label(rng, height, width):
    """Rectangles of things, numbered stuff, crowds and void over stuff."""
    panoptic = np.full((height, width), 1000, np.int32)
    for _ in range(rng.integers(0, 9)):
        y, x = rng.integers(0, height), rng.integers(0, width)
        part = np.s_[
            y : y + rng.integers(1, height + 1), x : x + rng.integers(1, 6)
        ]
        category = rng.choice([0, 11, 11, 13, 13, 2, 255])
        panoptic[part] = category * 1000 + rng.choice([0, 1, 2, 3, 999])
    return panoptic


def test_random_labels_equal_the_twin():
    rng = np.random.default_rng(0)
    for _ in range(150):
        height, width = rng.integers(1, 24, 2)
        panoptic = _make_label(rng, height, width)
        targets = _compute_in_graph(tf.constant(panoptic, tf.int32))
        _assert_equal(
            {name: value.numpy() for name, value in targets.items()},
            _twin(panoptic),
        )


def _pack(panoptic, max_class=255, **changes):
    return center_offset.compute_packed_targets(
        tf.constant(panoptic, tf.int32),
        **{**OPTIONS, **changes},
        max_class=max_class,
    )


def _unpack(packed, mode="eager"):
    unpack = center_offset.unpack_targets
    if mode != "eager":
        unpack = tf.function(unpack, jit_compile=mode == "xla", autograph=False)
    return {name: maps.numpy() for name, maps in unpack(packed).items()}


def _without_panoptic(targets):
    return {name: m for name, m in targets.items() if name != "panoptic"}


@pytest.mark.parametrize("mode", ["eager", "graph", "xla"])
@pytest.mark.parametrize("max_class", [255, 70000])
def test_packed_targets_of_a_batch_unpack_to_those_of_its_images(
    max_class, mode
):
    rng = np.random.default_rng(4)
    labels = [_make_label(rng, 17, 23) for _ in range(3)]
    packed = [_pack(label, max_class) for label in labels]
    batch = tf.nest.map_structure(lambda *maps: tf.stack(maps), *packed)
    unpacked = _unpack(batch, mode)
    for index, label in enumerate(labels):
        _assert_equal(
            {name: maps[index] for name, maps in unpacked.items()},
            _without_panoptic(_twin(label)),
        )


def test_packed_targets_take_fewer_bytes():
    packed = _pack(np.full((8, 10), 11001))
    sizes = {
        n: t.dtype.size * t.shape.num_elements() for n, t in packed.items()
    }
    assert sum(sizes.values()) == 12 * 8 * 10 + 4


@pytest.mark.parametrize("category", [0, 8189, 8190, 8191, 65535, 2_000_000])
def test_packed_targets_of_the_largest_class(category):
    panoptic = np.array([[11001, category * 1000, category * 1000 + 7, 13000]])
    _assert_equal(
        _unpack(_pack(panoptic, max(category, 255))),
        _without_panoptic(_twin(panoptic)),
    )


@pytest.mark.parametrize("shape", [(1, 32768), (32768, 1)])
def test_packed_targets_of_the_longest_runs_and_offsets(shape):
    panoptic = np.full(shape, 11001)
    offsets = _unpack(_pack(panoptic, sigma=0.3))["offset_map"].reshape(-1, 2)
    axis = shape.index(32768)
    # The mean of 0 to 32767 is a half, which goes to the even neighbor.
    expected = 16384 - np.arange(32768)
    np.testing.assert_array_equal(offsets[:, axis], expected)
    np.testing.assert_array_equal(offsets[:, 1 - axis], 0)
    panoptic.flat[0] = panoptic.flat[-1] = 13001
    panoptic.flat[1:-1] = 1000
    _assert_equal(
        _unpack(_pack(panoptic, sigma=0.3)),
        _without_panoptic(_compute(panoptic, sigma=0.3)),
    )


def test_packed_targets_of_classes_alone():
    packed = _pack(np.array([[11001, 255000]]))
    del packed["center_heatmap"], packed["packed_offset"]
    unpacked = _unpack(packed)
    np.testing.assert_array_equal(unpacked["semantic"], [[11, 255]])
    np.testing.assert_array_equal(unpacked["semantic_weight"], [[3, 1]])
    assert not {"offset_map", "center_heatmap"} & unpacked.keys()


@pytest.mark.parametrize("category", [4095, 4096, 32767, 2_000_000])
def test_classes_of_any_number(category):
    panoptic = np.array([[11001, category * 1000, category * 1000 + 7, 13000]])
    _assert_equal_to_twin(panoptic)


def test_things_are_numbered_by_their_first_pixels():
    rng = np.random.default_rng(1)
    for _ in range(30):
        _assert_equal_to_twin(_make_label(rng, 12, 17), max_thing_id=8)


def test_things_beyond_the_largest_number_are_left_out():
    panoptic = np.array([[11001, 11002, 13001, 13002]])
    targets = _compute(panoptic, max_thing_id=3)
    np.testing.assert_array_equal(targets["thing_id_mask"], [[0, 1, 2, -1]])
    np.testing.assert_array_equal(targets["thing_id_class"], [11, 11, 13])


@pytest.mark.parametrize("label", [255000, 255003, 1000, 11000, 11001])
def test_image_of_one_pixel(label):
    _assert_equal_to_twin(np.array([[label]]))


@pytest.mark.parametrize("sigma", [0.3, 1.0, 2.5, 8.0])
def test_gaussians_peak_at_the_center_for_every_sigma(sigma):
    panoptic = np.full((9, 11), 1000)
    panoptic[3:6, 4:9] = 11001
    _assert_equal_to_twin(panoptic, sigma=sigma)
    assert _compute(panoptic, sigma=sigma)["center_heatmap"][4, 6] == 1.0


def test_five_thousand_instances():
    count = 5000
    panoptic = 11 * 8192 + 1 + np.arange(count, dtype=np.int32)
    panoptic = panoptic.reshape(50, 100).repeat(2, 0).repeat(3, 1)
    targets = _compute(panoptic, label_divisor=8192, sigma=0.3)
    # A block has 2 rows, the mean is between them and goes to the even one.
    y, x = np.mgrid[:100, :300]
    np.testing.assert_array_equal(targets["offset_map"][..., 0], y // 2 * 2 - y)
    np.testing.assert_array_equal(
        targets["offset_map"][..., 1], x // 3 * 3 + 1 - x
    )
    assert np.sum(targets["center_heatmap"] == 1.0) == count


def test_centers_of_large_instances_are_exact():
    # A float32 mean of these coordinates would be off.
    panoptic = np.full((3001, 1501), 11001, np.int32)
    panoptic[0, 0] = 255000
    targets = _compute(panoptic)
    np.testing.assert_array_equal(targets["offset_map"][1, 1], [1499, 749])


def test_halves_are_rounded_to_even():
    panoptic = np.array([[11001, 11001, 13001, 13001]])
    columns = _compute(panoptic)["offset_map"][0, :, 1]
    np.testing.assert_array_equal(columns, [0, -1, 0, -1])


def test_offsets_lead_back_to_one_center_per_instance():
    rng = np.random.default_rng(2)
    panoptic = _make_label(rng, 40, 60)
    targets = _compute(panoptic)
    y, x = np.mgrid[:40, :60]
    for value in np.unique(panoptic):
        mask = panoptic == value
        ends = np.stack([y, x], -1)[mask] + targets["offset_map"][mask]
        if targets["offset_weight"][mask].any():
            assert len(np.unique(ends, axis=0)) == 1


def test_graph_of_unknown_size_gives_the_same_as_eager():
    compute = tf.function(
        lambda p: center_offset.compute_center_offset_targets(p, **OPTIONS),
        input_signature=[tf.TensorSpec([None, None], tf.int32)],
        autograph=False,
    )
    rng = np.random.default_rng(3)
    for size in ((7, 9), (16, 33)):
        panoptic = _make_label(rng, *size)
        targets = compute(tf.constant(panoptic))
        for name, value in _compute(panoptic).items():
            np.testing.assert_array_equal(targets[name], value)


def test_static_sizes_survive_in_an_input_pipeline():
    dataset = tf.data.Dataset.from_tensors(np.full((8, 12), 11001, np.int32))
    dataset = dataset.map(
        lambda p: center_offset.compute_center_offset_targets(p, **OPTIONS)
    )
    spec = dataset.element_spec
    assert spec["offset_map"].shape == (8, 12, 2)
    assert all(s.shape[:2] == (8, 12) for s in spec.values())
    assert len(list(dataset)) == 1


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"sigma": 0.0}, "sigma is 0.0"),
        ({"sigma": float("nan")}, "sigma is nan"),
        ({"label_divisor": 0}, "label_divisor is 0"),
        ({"max_thing_id": 0}, "max_thing_id is 0"),
    ],
)
def test_options_without_meaning_are_refused(changes, text):
    with pytest.raises(errors.DataError, match=text):
        _compute(np.array([[1000]]), **changes)


def test_label_with_channels_is_refused():
    with pytest.raises(errors.DataError, match="one image"):
        _compute(np.zeros((3, 4, 1), np.int32))


def test_label_that_is_too_long_is_refused():
    with pytest.raises(errors.DataError, match="32768"):
        _compute(np.zeros((1, 40000), np.int32))
