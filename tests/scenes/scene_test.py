# SPDX-License-Identifier: Apache-2.0
import dataclasses
import hashlib
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.scenes import scene as scene_lib

_VOID = scene_lib.IGNORE_LABEL * scene_lib.LABEL_DIVISOR


@pytest.fixture(scope="module")
def drawn():
    return [scene_lib.make_scene(seed) for seed in range(60)]


def _segments(scene):
    ids, areas = np.unique(scene.panoptic, return_counts=True)
    return dict(zip(ids.tolist(), areas.tolist(), strict=True))


def test_a_seed_gives_the_same_bytes_each_time():
    first, second = scene_lib.make_scene(7), scene_lib.make_scene(7)
    assert first.image.tobytes() == second.image.tobytes()
    assert first.panoptic.tobytes() == second.panoptic.tobytes()


# Made by `_digest`. They may change only on purpose: whoever compares results
# on scenes of two versions compares different pictures afterwards.
@pytest.mark.parametrize(
    ("seed", "size", "digest"),
    [
        (0, (129, 257), "fa45733012a417fe"),
        (1, (97, 129), "70e1c0f871e93103"),
        (2_000_003, (161, 321), "ee824b2479c91099"),
    ],
)
def test_scenes_are_the_same_on_every_machine(seed, size, digest):
    assert _digest(scene_lib.make_scene(seed, size)) == digest


def _digest(scene):
    digest = hashlib.sha256(scene.image.tobytes())
    digest.update(scene.panoptic.astype("<i4").tobytes())
    return digest.hexdigest()[:16]


def test_other_seeds_give_other_scenes(drawn):
    assert len({scene.image.tobytes() for scene in drawn}) == len(drawn)


@pytest.mark.parametrize(
    "size", [(129, 257), (33, 33), (300, 70), (64, 400), (257, 129)]
)
def test_every_size_and_shape_of_picture_is_drawn(size):
    for seed in range(4):
        scene = scene_lib.make_scene(seed, size)
        assert scene.image.shape == (*size, 3)
        assert scene.image.dtype == np.uint8
        assert scene.image.flags.c_contiguous
        assert scene.panoptic.shape == size
        assert scene.panoptic.dtype == np.int32


def test_a_larger_picture_shows_the_same_street():
    agreements = []
    for seed in range(6):
        small = scene_lib.make_scene(seed, (129, 257)).panoptic
        large = scene_lib.make_scene(seed, (257, 513)).panoptic[::2, ::2]
        same = (
            small // scene_lib.LABEL_DIVISOR == large // scene_lib.LABEL_DIVISOR
        )
        agreements.append(same.mean())
    assert np.mean(agreements) > 0.9


def test_labels_have_only_classes_of_the_descriptor(drawn):
    descriptor = descriptor_lib.load("scenes")
    assert descriptor.class_names == scene_lib.CLASS_NAMES
    assert descriptor.thing_ids == scene_lib.THING_IDS
    assert descriptor.void_id == _VOID
    for scene in drawn:
        for label in _segments(scene):
            kind, instance = divmod(label, scene_lib.LABEL_DIVISOR)
            assert kind in range(scene_lib.NUM_CLASSES) or label == _VOID
            assert instance == 0 or kind in scene_lib.THING_IDS


def test_instances_of_a_class_are_numbered_from_one(drawn):
    for scene in drawn:
        labels = set(_segments(scene))
        for label in labels:
            instance = label % scene_lib.LABEL_DIVISOR
            assert instance <= 1 or label - 1 in labels


@pytest.mark.parametrize("size", [(129, 257), (65, 97)])
def test_what_is_labelled_is_large_enough_to_be_seen(size):
    smallest = max(
        scene_lib.MIN_INSTANCE_AREA,
        scene_lib.MIN_INSTANCE_PART * size[0] * size[1],
    )
    for seed in range(30):
        segments = _segments(scene_lib.make_scene(seed, size))
        for label, area in segments.items():
            kind, instance = divmod(label, scene_lib.LABEL_DIVISOR)
            if instance:
                assert area >= smallest
            elif kind < min(scene_lib.THING_IDS):
                assert area >= scene_lib.MIN_STUFF_PART * size[0] * size[1]


def test_all_classes_crowds_and_void_occur(drawn):
    classes, crowds = set(), 0
    for scene in drawn:
        for label in _segments(scene):
            kind, instance = divmod(label, scene_lib.LABEL_DIVISOR)
            classes.add(kind)
            crowds += kind in scene_lib.THING_IDS and instance == 0
    assert classes == {*range(scene_lib.NUM_CLASSES), scene_lib.IGNORE_LABEL}
    assert 1 <= crowds <= len(drawn) / 4


def test_several_things_of_very_different_sizes_are_in_a_scene(drawn):
    counts, ratios = [], []
    for scene in drawn:
        areas = [
            area
            for label, area in _segments(scene).items()
            if label % scene_lib.LABEL_DIVISOR
        ]
        counts.append(len(areas))
        if areas:
            ratios.append(max(areas) / min(areas))
    assert 3 <= np.mean(counts) <= 12
    assert np.median(ratios) > 3


def test_things_of_a_class_touch_now_and_then(drawn):
    touching = 0
    for scene in drawn:
        left, right = scene.panoptic[:, :-1], scene.panoptic[:, 1:]
        kinds = (
            left // scene_lib.LABEL_DIVISOR == right // scene_lib.LABEL_DIVISOR
        )
        instances = (
            left % scene_lib.LABEL_DIVISOR * (right % scene_lib.LABEL_DIVISOR)
        )
        touching += bool((kinds & (left != right) & (instances > 0)).any())
    assert touching >= 5


def test_void_is_a_small_part(drawn):
    void = np.mean([(scene.panoptic == _VOID).mean() for scene in drawn])
    assert 0.002 < void < 0.05


@pytest.mark.parametrize(
    ("seed", "size"), [(0, (32, 100)), (0, (100, 20)), (-1, (129, 257))]
)
def test_a_scene_that_cannot_be_drawn_is_refused(seed, size):
    with pytest.raises(errors.DataError, match="must be >= 33"):
        scene_lib.make_scene(seed, size)


def test_no_two_splits_and_data_sets_share_a_seed():
    seeds = [
        scene_lib.compute_seed(split, index, seed)
        for split in scene_lib.SPLITS
        for index in (0, 1, 999_999)
        for seed in (0, 1, 2)
    ]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("training", 0), "Use one of train, val, test"),
        (("train", 1_000_000), "0 <= index < 1000000"),
        (("train", -1), "0 <= index"),
        (("train", 0, -1), "a seed >= 0"),
    ],
)
def test_a_split_or_index_that_does_not_exist_is_refused(arguments, text):
    with pytest.raises(errors.DataError, match=text):
        scene_lib.compute_seed(*arguments)


def test_a_scene_cannot_be_changed(drawn):
    with pytest.raises(dataclasses.FrozenInstanceError):
        drawn[0].image = None


def test_drawing_needs_numpy_only():
    code = (
        "import sys\n"
        "from deeplab2_like.scenes import scene\n"
        "scene.make_scene(0, (33, 65))\n"
        "bad = {'tensorflow', 'keras', 'scipy', 'cv2'} & set(sys.modules)\n"
        "sys.exit(str(bad) if bad else 0)\n"
    )
    root = pathlib.Path(__file__).resolve().parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)
