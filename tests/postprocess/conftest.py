# SPDX-License-Identifier: Apache-2.0
"""Post-processing in NumPy, one instance at a time, and random scenes."""

import dataclasses

import numpy as np
import pytest

from deeplab2_like.postprocess import options

# (height, width) of the images that objects are fused in.
FUSION_SIZE = (70, 90)


@dataclasses.dataclass
class Scene:
    """Inputs at full size, as the network predicts them for an image."""

    semantic: np.ndarray
    heatmap: np.ndarray
    offset: np.ndarray
    valid_size: tuple[int, int]


def find_centers(scene, center_rules):
    """Returns (y, x, value) of the centers that are kept, in raster order."""
    height, width = scene.heatmap.shape
    heat = np.where(
        scene.heatmap > np.float32(center_rules.center_threshold),
        scene.heatmap,
        0,
    )
    heat[scene.valid_size[0] :] = 0
    heat[:, scene.valid_size[1] :] = 0
    kernel = center_rules.nms_kernel
    before, after = (kernel - 1) // 2, kernel // 2
    padded = np.pad(heat, [(before, after), (before, after)])
    largest = np.zeros_like(heat)
    for dy in range(kernel):
        for dx in range(kernel):
            window = padded[dy : dy + height, dx : dx + width]
            largest = np.maximum(largest, window)
    y, x = np.nonzero((heat == largest) & (heat > 0))
    value = heat[y, x]
    best = np.argsort(-value, kind="stable")[: center_rules.limit]
    kept = np.sort(best)
    return y[kept], x[kept], value[kept]


def group(scene, centers, is_thing):
    """Returns 1 + index of the nearest center on things, 0 elsewhere."""
    height, width = scene.semantic.shape
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    vote_y = rows + scene.offset[..., 0]
    vote_x = columns + scene.offset[..., 1]
    best = np.full((height, width), np.inf, np.float32)
    instance = np.zeros((height, width), np.int32)
    for number, (y, x) in enumerate(zip(*centers[:2], strict=True), 1):
        dy, dx = vote_y - np.float32(y), vote_x - np.float32(x)
        distance = np.sqrt(dy * dy + dx * dx)
        is_nearer = distance < best
        best = np.where(is_nearer, distance, best)
        instance[is_nearer] = number
    return np.where(is_thing, instance, 0)


def merge(scene, instance, scores, is_valid, class_rules):
    """Returns the panoptic map, {id: (category, area, row)}, the drop count."""
    r = class_rules
    panoptic = np.full(instance.shape, r.void_id, np.int32)
    segments = {}
    members = {}
    flat = np.where(is_valid, instance, 0).ravel()
    numbers, first = np.unique(flat, return_index=True)
    for number in numbers[np.argsort(first)]:
        if number == 0:
            continue
        votes = scene.semantic[(instance == number) & is_valid]
        category = int(np.argmax(np.bincount(votes)))
        members.setdefault(category, []).append(number)
    dropped = 0
    for category, found in members.items():
        by_score = sorted(found, key=lambda n: (-scores[n - 1], n))
        kept = set(by_score[: r.label_divisor - 1])
        dropped += len(found) - len(kept)
        for place, number in enumerate([n for n in found if n in kept], 1):
            mask = (instance == number) & is_valid
            panoptic[mask] = category * r.label_divisor + place
            segments[category * r.label_divisor + place] = (
                category,
                int(mask.sum()),
                number - 1,
            )
    for place, category in enumerate(r.stuff_ids):
        mask = (scene.semantic == category) & is_valid & (instance == 0)
        if mask.sum() >= max(1, r.stuff_area_limit):
            panoptic[mask] = category * r.label_divisor
            segments[category * r.label_divisor] = (
                category,
                int(mask.sum()),
                place - len(r.stuff_ids),
            )
    return panoptic, segments, dropped


def postprocess(scene, class_rules, center_rules):
    """Computes the whole post-processing; returns its results by name."""
    is_valid = np.zeros(scene.semantic.shape, bool)
    is_valid[: scene.valid_size[0], : scene.valid_size[1]] = True
    centers = find_centers(scene, center_rules)
    is_thing = np.isin(scene.semantic, class_rules.thing_ids) & is_valid
    instance = group(scene, centers, is_thing)
    panoptic, segments, dropped = merge(
        scene, instance, centers[2], is_valid, class_rules
    )
    scores = np.concatenate([[0], centers[2]]).astype(np.float32)
    return {
        "semantic": np.where(
            is_valid, scene.semantic, class_rules.ignore_label
        ),
        "panoptic": panoptic,
        "instance": instance,
        "instance_score": scores[instance],
        "segments": segments,
        "num_dropped": dropped,
    }


def make_scene(rng, height, width):
    """Makes blocks of classes, few peak heights, offsets that often tie."""
    cells = rng.integers(1, 4)
    blocks = rng.integers(0, 6, (height // cells + 1, width // cells + 1))
    semantic = np.kron(blocks, np.ones((cells, cells), int))[:height, :width]
    if rng.random() < 0.1:
        semantic = np.minimum(semantic, 2)
    density = rng.choice([0.0, 0.005, 0.02, 0.3])
    heatmap = rng.integers(1, 9, (height, width)) / 8
    heatmap *= rng.random((height, width)) < density
    step = rng.choice([1.0, 0.5, 0.01])
    offset = np.round(rng.normal(0, 4, (height, width, 2)) / step) * step
    valid_size = (height, width)
    if rng.random() < 0.3:
        valid_size = tuple(rng.integers(1, [height + 1, width + 1]).tolist())
    return Scene(
        semantic.astype(np.int32),
        heatmap.astype(np.float32),
        offset.astype(np.float32),
        valid_size,
    )


@pytest.fixture(scope="session")
def twin():
    """Returns post-processing in NumPy."""
    return postprocess


@pytest.fixture(scope="session")
def random_scenes():
    """Returns a function that makes the n-th batch of scenes of a size."""

    def make(seed, count, height, width):
        rng = np.random.default_rng(seed)
        return [make_scene(rng, height, width) for _ in range(count)]

    return make


@pytest.fixture(scope="session")
def class_rules():
    """Returns rules of three stuff classes, three thing classes and void."""
    return options.ClassRules(
        num_classes=6,
        thing_ids=(3, 4, 5),
        ignore_label=255,
        label_divisor=1000,
        stuff_area_limit=20,
    )


def _read_table(prediction, index):
    """Returns the valid rows, {id: (category, area)}; checks the rest is 0."""
    valid = prediction.segment_is_valid[index].numpy()
    columns = [
        getattr(prediction, f"segment_{name}")[index].numpy()
        for name in ("id", "category", "area", "score")
    ]
    assert all(not column[~valid].any() for column in columns)
    ids, categories, areas, _ = (column[valid] for column in columns)
    assert len(set(ids)) == len(ids)
    return {i: (c, a) for i, c, a in zip(ids, categories, areas, strict=True)}


@pytest.fixture(scope="session")
def read_table():
    """Returns a function that reads the segments of one image."""
    return _read_table


@pytest.fixture(scope="session")
def fusion_classes():
    """Returns rules of the classes that objects are fused with."""
    return options.ClassRules(
        num_classes=5,
        thing_ids=(3, 4),
        ignore_label=255,
        label_divisor=100,
        stuff_area_limit=40,
    )


@pytest.fixture(scope="session")
def make_fusion_case():
    """Returns a function that draws masks and class logits to be fused."""
    return _make_fusion_case


def _make_fusion_case(rng, number=7):
    boxes = np.sort(rng.uniform(-9, 95, (number, 2, 2)), axis=1)
    boxes = boxes.reshape(number, 4).astype(np.float32)
    masks = rng.normal(0.5, 3.0, (number, 7, 6)).astype(np.float32)
    masks += np.sign(masks) * 0.01
    frames = boxes.copy()
    if rng.random() < 0.3:
        boxes[1], masks[1], frames[1] = boxes[0], masks[0], frames[0]
    if rng.random() < 0.2:
        frames[:] = [0, 0, *FUSION_SIZE]
    if rng.random() < 0.2:
        boxes[3, 2:] = boxes[3, :2]  # without area
        boxes[4] = [0, 0, *FUSION_SIZE]  # touches all borders
    if rng.random() < 0.2:
        masks[2] = -5.0
    scores = rng.integers(3, 8, number) / np.float32(8)
    kind = rng.choice(["all", "one", "none"], p=[0.8, 0.1, 0.1])
    if kind != "all":
        scores[:] = -np.inf
    if kind == "one":
        scores[rng.integers(number)] = 0.75
    valid_size = np.array(FUSION_SIZE)
    if rng.random() < 0.3:
        valid_size = rng.integers(1, FUSION_SIZE)
    return {
        "masks": masks,
        "frames": frames,
        "boxes": boxes,
        "channel": rng.integers(3, 5, number).astype(np.int32),
        "score": scores.astype(np.float32),
        "logits": rng.normal(0.0, 2.0, (18, 23, 5)).astype(np.float32),
        "valid_size": valid_size.astype(np.int32),
    }


@pytest.fixture(scope="session")
def make_one_object():
    """Returns a function that makes one object with constant logits."""
    return _make_one_object


def _make_one_object(mask_logit, class_logit, stuff_logit):
    logits = np.full((18, 23, 5), stuff_logit, np.float32)
    logits[..., 3] = class_logit
    return {
        "masks": np.full((1, 4, 4), mask_logit, np.float32),
        "frames": np.array([[10, 20, 40, 60]], np.float32),
        "boxes": np.array([[10, 20, 40, 60]], np.float32),
        "channel": np.array([3], np.int32),
        "score": np.array([0.9], np.float32),
        "logits": logits,
        "valid_size": np.array(FUSION_SIZE, np.int32),
    }
