# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.metrics import panoptic_quality, video_panoptic_quality
from deeplab2_like.metrics.video_panoptic_quality import WHOLE


def _make_frames(make_maps, seed, count=5):
    truth, predicted = make_maps(seed)
    return [
        (np.roll(truth, time, 1), np.roll(predicted, 2 * time, 1))
        for time in range(count)
    ]


def _join(frames):
    """Puts frames side by side: their tubes are segments of one image."""
    return tuple(np.concatenate(maps, 1) for maps in zip(*frames, strict=True))


def test_windows_are_images_with_their_frames_side_by_side(make_maps, dataset):
    windows = (1, 2, 4, WHOLE)
    quality = video_panoptic_quality.VideoPanopticQuality(dataset, windows)
    twins = {w: panoptic_quality.PanopticQuality(dataset) for w in windows}
    for seed, count in ((0, 5), (1, 3), (2, 4)):
        frames = _make_frames(make_maps, seed, count)
        for true, predicted in frames:
            quality.update(true, predicted, f"v{seed}")
        for window in windows:
            size = window or count
            for start in range(count - size + 1):
                twins[window].update(*_join(frames[start : start + size]))
    result = quality.result()
    for window in windows:
        expected, found = twins[window].result(), result.per_window[window]
        assert found.num_images == expected.num_images
        for ours, theirs in zip(
            found.per_class, expected.per_class, strict=True
        ):
            assert (ours.tp, ours.fp, ours.fn) == (
                theirs.tp,
                theirs.fp,
                theirs.fn,
            )
            assert ours.iou_sum == pytest.approx(theirs.iou_sum)
    values = [result.per_window[w].all.pq for w in (1, 2, 4)]
    assert result.vpq == pytest.approx(np.mean(values))
    assert set(result.scalars()) == {
        "VPQ",
        "VPQ_1",
        "VPQ_2",
        "VPQ_4",
        "volume_PQ",
    }


def test_an_id_that_changes_costs_quality_in_windows_only(dataset):
    quality = video_panoptic_quality.VideoPanopticQuality(dataset, (1, 2))
    truth = np.zeros((4, 9), int)
    truth[1, 2:5] = 3001
    for time in range(4):
        quality.update(truth, np.where(truth, 3001 + time // 2, 0))
    result = quality.result()
    assert result.per_window[1].all.pq == 1.0
    assert result.per_window[2].all.pq < 1.0


def test_windows_longer_than_all_sequences_are_left_out(dataset):
    quality = video_panoptic_quality.VideoPanopticQuality(dataset, (1, 3))
    truth = np.zeros((4, 9), int)
    quality.update(truth, truth)
    quality.update(truth, truth)
    result = quality.result()
    assert result.vpq == 1.0
    assert np.isnan(result.per_window[3].all.pq)


@pytest.mark.parametrize("windows", [(), (-1,), (2, 2)])
def test_wrong_windows_are_one_sentence(dataset, windows):
    with pytest.raises(errors.ConfigError, match="windows"):
        video_panoptic_quality.VideoPanopticQuality(dataset, windows)
