# SPDX-License-Identifier: Apache-2.0
"""The benchmark programs: their inputs, and that they run at all."""

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from benchmarks import (
    drawn_objects,
    full_size_pasting,
    inputs,
    mask_merging,
    panoptic_fusion,
    quick,
    running,
    solov2_decoding,
)
from deeplab2_like.postprocess.masks import solov2_decoding as decoding

SIZE = (128, 256)
FOLDER = pathlib.Path(quick.__file__).parent


@pytest.fixture(name="maps", scope="module")
def _maps():
    return inputs.draw_network_maps(inputs.draw_label(12, SIZE), seed=1)


def test_drawn_labels_have_the_instances_that_were_asked_for():
    label = inputs.draw_label(12, SIZE)
    ids = np.unique(label[label % inputs.LABEL_DIVISOR > 0])
    assert 8 <= len(ids) <= 12
    assert set(ids // inputs.LABEL_DIVISOR) <= set(inputs.THING_IDS)
    assert np.array_equal(label, inputs.draw_label(12, SIZE))


def test_drawn_offsets_point_at_the_centers(maps):
    label = inputs.draw_label(12, SIZE)
    ids, areas = np.unique(label, return_counts=True)
    is_instance = ids % inputs.LABEL_DIVISOR > 0
    number = ids[is_instance][np.argmax(areas[is_instance])]
    places = np.argwhere(label == number)
    votes = places + maps.offset[label == number]
    miss = np.abs(np.median(votes, axis=0) - places.mean(axis=0))
    assert miss.max() < 2


def test_the_winners_of_drawn_scores_are_the_classes(maps):
    probabilities = inputs.make_probabilities(maps.semantic)
    np.testing.assert_array_equal(probabilities.argmax(-1), maps.semantic)
    np.testing.assert_allclose(probabilities.sum(-1), 1, rtol=1e-5)


def test_head_outputs_have_a_quarter_of_the_canvas(maps):
    heads = inputs.make_head_outputs(maps)
    assert heads.logits.shape == (1, 33, 65, inputs.NUM_CLASSES)
    assert heads.heatmap.shape == (1, 33, 65, 1)
    np.testing.assert_array_equal(
        heads.offset[0, 3, 5], maps.offset[12, 20] / 4
    )


def test_archives_are_read_where_a_folder_is_given(tmp_path, maps):
    np.savez(
        tmp_path / "post_007.npz",
        semantic=maps.semantic,
        heatmap=maps.heatmap.astype(np.float16),
        offsets=maps.offset.astype(np.float16),
    )
    found = inputs.load_network_maps(tmp_path, 7)
    np.testing.assert_array_equal(found.semantic, maps.semantic)
    assert found.heatmap.dtype == found.offset.dtype == np.float32


def test_a_missing_archive_is_one_sentence(tmp_path):
    with pytest.raises(inputs.errors.DataError, match=r"label_010\.npz cannot"):
        inputs.load_label(tmp_path, 10)


def test_masks_are_merged_as_by_the_naive_way():
    masks = mask_merging.draw_masks(SIZE)
    logits = mask_merging.draw_logits(SIZE)
    size = (SIZE[0] + 1, SIZE[1] + 1)
    objects = [
        tf.constant(values[np.newaxis])
        for values in (
            masks.boxes,
            masks.category,
            masks.score,
            np.ones(len(masks.score), bool),
            masks.masks,
        )
    ]
    rules = mask_merging.CLASS_RULES
    process = mask_merging.make_function(size)
    found = process(logits, objects, tf.constant([size]))
    found = found["panoptic"][0].numpy()
    expected = full_size_pasting.merge(
        logits,
        masks,
        size,
        mask_merging.CHANNEL_CLASSES,
        rules.label_divisor,
        rules.void_id,
        rules.stuff_area_limit,
    )
    pairs, counts = np.unique(
        np.stack([found, expected]).reshape(2, -1),
        axis=1,
        return_counts=True,
    )
    assert len(np.unique(expected)) > 20
    # Each segment has its counterpart, whatever its number is.
    biggest = {}
    for (ours, theirs), count in zip(pairs.T, counts, strict=True):
        best = biggest.get(ours, (0, None))
        biggest[ours] = max(best, (count, theirs))
    assert sum(count for count, _ in biggest.values()) > 0.999 * found.size
    divisor = rules.label_divisor
    assert all(
        ours // divisor == theirs // divisor
        for ours, (_, theirs) in biggest.items()
    )


@pytest.mark.parametrize("kind", drawn_objects.KINDS)
def test_drawn_objects_lie_in_the_picture_and_are_seen_as_their_class(kind):
    objects = drawn_objects.draw(kind, SIZE, 20)
    assert np.all(objects.boxes >= 0)
    assert np.all(objects.boxes[:, 2:] <= SIZE)
    assert np.isfinite(objects.logits).all()
    assert (kind == "objects") == (len(np.unique(objects.boxes, axis=0)) > 1)
    logits = drawn_objects.draw_class_logits(objects, SIZE)
    assert logits.shape == (1, 32, 64, inputs.NUM_CLASSES)
    first = np.argmax(objects.score)
    y, x = objects.boxes[first].reshape(2, 2).mean(axis=0).astype(int) // 4
    assert logits[0, y, x].argmax() == objects.category[first]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("objects", 80), ("all_candidates", 500), ("no_object", 0)],
)
def test_drawn_cells_are_as_many_as_they_should_be(kind, expected):
    found = solov2_decoding.make_inputs(kind, SIZE, number=20)
    rules = solov2_decoding.CELL_RULES
    probability = decoding.compute_probabilities(
        found.cells[0], rules.grids
    ).numpy()
    cells = np.nonzero(probability.max(axis=1) > rules.score_threshold)[0]
    assert len(cells) == expected
    masks = found.features.numpy()[0] @ found.kernels.numpy()[0, cells].T > 0
    shares = masks.mean(axis=(0, 1))
    if kind == "objects":
        assert 0 < shares.max() < 0.3
    elif kind == "all_candidates":
        assert np.median(shares) > 0.1


@pytest.mark.slow
def test_objects_and_cells_become_segments():
    size = (256, 512)
    # Half of the objects are too small for a cell here.
    for program, least in ((panoptic_fusion, 18), (solov2_decoding, 8)):
        process = program.make_function(size)
        make = getattr(program, "make_inputs", None) or program.make_arguments
        segments = {}
        for kind in ("objects", "no_object"):
            found = process(*make(kind, size, 20))
            is_thing = found["panoptic"] % inputs.LABEL_DIVISOR > 0
            segments[kind] = len(np.unique(found["panoptic"][is_thing]))
        assert least <= segments["objects"] <= 20
        assert segments["no_object"] == 0


def test_the_quick_set_names_programs_that_exist():
    for name, _, _ in quick.CASES:
        assert (FOLDER / f"{name}.py").is_file()


def test_a_case_runs_in_a_process_of_its_own():
    found = running.measure_case(
        str(FOLDER / "metrics.py"), "panoptic_quality", quick=True
    )
    names = [measurement.name for measurement in found]
    assert names == ["pq_update/10", "pq_update/30", "pq_update/100"]


def test_a_case_that_fails_is_an_error():
    with pytest.raises(running.errors.UserError, match="failed with code 2"):
        running.measure_case(str(FOLDER / "metrics.py"), "none")
