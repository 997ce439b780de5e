# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import coco_writer
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.visualize import difference, legend, visualizer

_RED, _BLUE = (200, 40, 40), (40, 40, 200)


@pytest.fixture
def descriptor():
    return descriptor_lib.DatasetDescriptor(
        name="street",
        num_classes=3,
        thing_ids=(1,),
        stuff_ids=(0, 2),
        ignore_label=255,
        label_divisor=1000,
        class_names=("road", "car", "sky"),
        colors=(_RED, _BLUE, (90, 200, 90)),
        category_ids=(5, 6, 7),
    )


def _make_labels(height=64, width=96):
    labels = np.zeros((height, width), np.int32)
    labels[: height // 3] = 2000
    labels[height // 2 : height // 2 + 12, 10:30] = 1001
    labels[height // 2 : height // 2 + 12, 30:55] = 1002
    labels[-4:] = 255000
    return labels


def _make_image(height=64, width=96):
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)


_PLAIN = {"scale": 1, "borders": False, "names": False, "legend": False}


def test_without_strength_the_image_remains(descriptor):
    image = _make_image()
    picture = visualizer.visualize(
        image, _make_labels(), descriptor, alpha=0.0, **_PLAIN
    )
    np.testing.assert_array_equal(picture, image)


def test_at_full_strength_stuff_has_its_colour_and_things_shades(descriptor):
    labels = _make_labels()
    picture = visualizer.visualize(
        _make_image(), labels, descriptor, alpha=1.0, **_PLAIN
    )
    np.testing.assert_array_equal(
        np.unique(picture[labels == 0], axis=0), [_RED]
    )
    first, second = (
        np.unique(picture[labels == label], axis=0) for label in (1001, 1002)
    )
    assert first.shape == second.shape == (1, 3)
    assert not np.array_equal(first, second)
    assert first.argmax() == second.argmax() == 2


def test_a_label_map_and_its_result_give_the_same_picture(descriptor):
    image, labels = _make_image(), _make_labels()
    result = PanopticResult.from_label(labels, descriptor)
    np.testing.assert_array_equal(
        visualizer.visualize(image, labels, descriptor),
        visualizer.visualize(image, result, descriptor),
    )


def test_borders_are_light_lines_between_segments_only(descriptor):
    image = np.zeros((64, 96, 3), np.uint8)
    labels = _make_labels()
    options = dict(_PLAIN, borders=True)
    picture = visualizer.visualize(image, labels, descriptor, **options)
    light = (picture > 180).all(-1)
    assert light[:, 60].sum() == 2
    assert light[35, 29]
    assert not light[5].any()


@pytest.mark.parametrize(
    ("shape", "scale"), [((64, 96), 6), ((400, 360), 1), ((1, 1), 8)]
)
def test_small_pictures_are_enlarged_to_be_legible(descriptor, shape, scale):
    image = np.zeros((*shape, 3), np.uint8)
    labels = np.zeros(shape, int)
    options = dict(_PLAIN, scale=None)
    picture = visualizer.visualize(image, labels, descriptor, **options)
    assert picture.shape == (shape[0] * scale, shape[1] * scale, 3)


def test_the_legend_is_a_panel_on_the_right(descriptor):
    options = dict(_PLAIN, legend=True, scale=2)
    picture = visualizer.visualize(
        _make_image(), _make_labels(), descriptor, **options
    )
    assert picture.shape[0] == 128
    panel = picture[:, 192:]
    assert panel.shape[1] > 30
    np.testing.assert_array_equal(panel[0], 255)
    assert (panel == _RED).all(-1).any()


def test_names_are_written_into_segments_that_have_room(descriptor):
    image = np.zeros((300, 400, 3), np.uint8)
    labels = np.zeros((300, 400), int)
    labels[:2] = 2000
    named, plain = (
        visualizer.visualize(
            image, labels, descriptor, **dict(_PLAIN, names=names)
        )
        for names in (True, False)
    )
    y, x = np.nonzero((named != plain).any(-1))
    assert y.min() > 2
    assert 20 < np.ptp(x) < 200
    assert abs(x.mean() - 200) < 40


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (37, 1), (5, 7)])
def test_tiny_images_and_void_can_be_drawn(descriptor, shape):
    image = np.zeros((*shape, 3), np.uint8)
    for label in (0, 255000):
        labels = np.full(shape, label)
        picture = visualizer.visualize(image, labels, descriptor)
        assert picture.dtype == np.uint8
        visualizer.visualize_comparison(image, labels, labels, descriptor)


def test_hundreds_of_instances_can_be_drawn(descriptor):
    labels = 1001 + np.arange(400).reshape(20, 20).repeat(10, 0).repeat(10, 1)
    image = np.zeros((200, 200, 3), np.uint8)
    assert visualizer.visualize(image, labels, descriptor).shape[0] == 400


def test_an_object_of_a_track_has_its_colour_whatever_is_beside_it(descriptor):
    labels = _make_labels()
    both = PanopticResult.from_label(labels, descriptor)
    alone = PanopticResult.from_label(
        np.where(labels == 1001, 0, labels), descriptor
    )
    found = []
    for result in (both, alone):
        for info in result.segments_info:
            info["track_id"] = 9 if info["bbox"][0] == 30 else 3
        picture = visualizer.visualize(
            np.zeros((*labels.shape, 3), np.uint8),
            result,
            descriptor,
            alpha=1.0,
            scale=1,
            borders=False,
            names=False,
            legend=False,
        )
        found.append(picture[labels == 1002][0])
    np.testing.assert_array_equal(*found)


def test_the_ids_of_a_result_may_be_any(descriptor):
    result = PanopticResult.from_label(_make_labels(), descriptor)
    info = [dict(i, id=10 * i["id"]) for i in result.segments_info]
    moved = dataclasses.replace(
        result, segmentation=result.segmentation * 10, segments_info=info
    )
    np.testing.assert_array_equal(
        visualizer.visualize(_make_image(), moved, descriptor),
        visualizer.visualize(_make_image(), result, descriptor),
    )


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((64, 96, 3)), "float64"),
        (np.zeros((64, 96), np.uint8), r"\(64, 96\)"),
        (np.zeros((64, 96, 4), np.uint8), r"\(64, 96, 4\)"),
        (np.zeros((64, 95, 3), np.uint8), r"\(64, 95\).*\(64, 96\)"),
    ],
)
def test_images_that_do_not_fit_are_refused(descriptor, image, message):
    with pytest.raises(errors.DataError, match=message):
        visualizer.visualize(image, _make_labels(), descriptor)


def test_the_difference_tells_wrong_classes_from_wrong_instances(descriptor):
    truth = np.array([[0, 0, 1001, 1001, 1002, 1002, 255000, 1000]])
    found = np.array([[0, 2000, 1001, 1001, 1001, 255000, 0, 1003]])
    codes = difference.compute_errors(
        PanopticResult.from_label(truth, descriptor),
        PanopticResult.from_label(found, descriptor),
    )
    right, wrong_class, wrong_instance, void = range(4)
    expected = [right, wrong_class, right, right]
    expected.extend([wrong_instance, wrong_class, void, right])
    np.testing.assert_array_equal(codes, [expected])


def test_a_right_prediction_shows_no_difference(descriptor):
    image, labels = _make_image(), _make_labels()
    picture = visualizer.visualize_difference(image, labels, labels, descriptor)
    assert picture.shape == image.shape
    inside = labels != 255000
    # Grey everywhere: all three parts are equal.
    assert (np.ptp(picture[inside].astype(int), axis=-1) == 0).all()


def test_a_comparison_has_four_panels_or_two_without_truth(descriptor):
    image, labels = _make_image(), _make_labels()
    four, two = (
        visualizer.visualize_comparison(
            image, truth, labels, descriptor, panel_size=192
        )
        for truth in (labels, None)
    )
    assert four.shape[0] > 2 * 128 > two.shape[0] > 128
    assert four.shape[1] > 2 * 192
    assert two.shape[1] > 2 * 192


def test_the_legend_of_a_comparison_says_0_for_what_is_absent(descriptor):
    labels = _make_labels()
    without = np.where(labels // 1000 == 0, labels, 0)
    truth, prediction = (
        PanopticResult.from_label(label, descriptor)
        for label in (labels, without)
    )
    entries = visualizer._list_classes([truth, prediction], descriptor)
    notes = {entry.name: entry.note for entry in entries}
    assert notes == {"road": "100 %", "car": "0", "sky": "0"}
    errors_hw = difference.compute_errors(truth, truth)
    heading, *shares = difference.list_errors(errors_hw)
    assert heading.note == ""
    assert [entry.note for entry in shares] == ["0", "0"]
    errors_hw[0, 0] = difference.WRONG_CLASS
    errors_hw[0, 1:7] = difference.WRONG_INSTANCE
    shares = difference.list_errors(errors_hw)[1:]
    assert [entry.note for entry in shares] == ["< 0.1 %", "0.1 %"]


def test_a_legend_without_room_counts_what_it_hides():
    entries = [legend.LegendEntry(f"class {i}", _RED) for i in range(50)]
    crowded = legend.make_legend(entries, 100, 20)
    assert crowded.height == 100
    roomy = legend.make_legend(entries, 2000, 20)
    assert roomy.height == 2000
    assert legend.make_legend([], 30, 12).height == 30


def _write_files(folder, descriptor):
    labels = _make_labels()
    (folder / "images").mkdir()
    Image.fromarray(_make_image()).save(folder / "images" / "a.png")
    with coco_writer.CocoPanopticWriter(folder / "pred", descriptor) as writer:
        writer.add(PanopticResult.from_label(labels, descriptor), "a.png", 1)


def _run(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "deeplab2_like.visualize.coco_main", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=pathlib.Path(__file__).resolve().parents[2],
    )


@pytest.mark.parametrize("with_truth", [False, True])
def test_the_program_draws_coco_files(descriptor, tmp_path, with_truth):
    _write_files(tmp_path, descriptor)
    json_path = tmp_path / "pred.json"
    truth = [f"--truth_json={json_path}"] if with_truth else []
    done = _run(
        f"--panoptic_json={json_path}",
        f"--image_folder={tmp_path / 'images'}",
        f"--output_folder={tmp_path / 'out'}",
        *truth,
    )
    assert done.returncode == 0, done.stderr
    assert Image.open(tmp_path / "out" / "a.png").width > 96


def test_the_program_asks_for_categories(descriptor, tmp_path):
    _write_files(tmp_path, descriptor)
    json_path = tmp_path / "pred.json"
    content = json.loads(json_path.read_text())
    del content["categories"]
    json_path.write_text(json.dumps(content))
    done = _run(
        f"--panoptic_json={json_path}",
        f"--image_folder={tmp_path / 'images'}",
        f"--output_folder={tmp_path / 'out'}",
    )
    assert done.returncode == errors.DataError.exit_code
    assert "--truth_json" in done.stderr
