# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.metrics import tracking_quality


def _make_videos(make_maps, count=3, frames=4):
    """Frames whose labels stay, each with errors of its own."""
    videos = {}
    for video in range(count):
        truth, predicted = make_maps(video)
        videos[f"v{video}"] = [
            (np.roll(truth, time, 1), np.roll(predicted, 2 * time, 1))
            for time in range(frames)
        ]
    return videos


def _compute_by_masks(videos, dataset):
    """STQ mask by mask, as the paper defines it."""
    divisor, ignore = dataset.label_divisor, dataset.ignore_label
    association, num_tracks = 0.0, 0
    shared, union = np.zeros(6), np.zeros(6)
    for frames in videos.values():
        truth = np.stack([true for true, _ in frames])
        predicted = np.stack([found for _, found in frames])
        is_thing = np.isin(truth // divisor, dataset.thing_ids)
        is_crowd = is_thing & (truth % divisor == 0)
        is_found = np.isin(predicted // divisor, dataset.thing_ids) & ~is_crowd
        for label in np.unique(truth[is_thing & ~is_crowd]):
            tube = truth == label
            num_tracks += 1
            for other in np.unique(predicted[is_found]):
                other_tube = (predicted == other) & is_found
                both = (tube & other_tube).sum()
                iou = both / (tube | other_tube).sum()
                association += both * iou / tube.sum()
        is_labeled = truth // divisor != ignore
        for class_id in range(6):
            true = (truth // divisor == class_id) & is_labeled
            found = (predicted // divisor == class_id) & is_labeled
            shared[class_id] += (true & found).sum()
            union[class_id] += (true | found).sum()
    aq = association / num_tracks
    sq = np.mean(shared[union > 0] / union[union > 0])
    return aq, sq


def test_the_values_are_those_of_masks(make_maps, dataset):
    videos = _make_videos(make_maps)
    quality = tracking_quality.TrackingQuality(dataset)
    for name, frames in videos.items():
        for true, predicted in frames:
            quality.update(true, predicted, name)
    result = quality.result()
    aq, sq = _compute_by_masks(videos, dataset)
    assert result.all.aq == pytest.approx(aq)
    assert result.all.sq == pytest.approx(sq)
    assert result.all.stq == pytest.approx(math.sqrt(aq * sq))
    assert result.all.num_frames == quality.num_frames == 12
    for name, frames in videos.items():
        aq, sq = _compute_by_masks({name: frames}, dataset)
        assert result.per_sequence[name].aq == pytest.approx(aq)
        assert result.per_sequence[name].sq == pytest.approx(sq)


def test_a_perfect_prediction_may_have_other_instance_numbers(dataset):
    quality = tracking_quality.TrackingQuality(dataset)
    for time in range(3):
        truth = np.zeros((4, 9), int)
        truth[1, time : time + 3], truth[3, 2:5] = 3001, 4001
        renamed = np.where(truth == 3001, 3077, truth)
        quality.update(truth, renamed, "a")
    assert quality.result().all.stq == 1.0


def test_a_track_that_changes_its_id_halfway_counts_half(dataset):
    quality = tracking_quality.TrackingQuality(dataset)
    for time in range(4):
        truth = np.zeros((4, 9), int)
        truth[1, 2:5] = 3001
        quality.update(truth, np.where(truth, 3001 + time // 2, 0), "a")
    assert quality.result().all.aq == pytest.approx(0.5)
    assert quality.result().all.sq == 1.0


def test_without_a_track_there_is_no_value_and_a_warning(dataset):
    quality = tracking_quality.TrackingQuality(dataset)
    assert math.isnan(quality.result().all.stq)
    quality.update(np.zeros((2, 2), int), np.zeros((2, 2), int))
    result = quality.result()
    assert math.isnan(result.all.aq)
    assert result.all.sq == 1.0
    assert "no track of a thing" in result.warnings[0]


def test_frames_of_a_sequence_that_ended_are_refused(dataset):
    quality = tracking_quality.TrackingQuality(dataset)
    empty = np.zeros((2, 2), int)
    quality.update(empty, empty, "a")
    quality.update(empty, empty, "b")
    with pytest.raises(errors.DataError, match="'a', which has ended"):
        quality.update(empty, empty, "a", "a/000001")


def test_unknown_classes_are_named(dataset):
    quality = tracking_quality.TrackingQuality(dataset)
    with pytest.raises(
        errors.DataError, match="image f1 has 1 labels of unkno"
    ):
        quality.update(np.full((2, 2), 9000), np.zeros((2, 2), int), "a", "f1")
