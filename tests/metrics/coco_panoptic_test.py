# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import coco_format
from deeplab2_like.metrics import coco_panoptic

_CATEGORIES = [
    {"id": 7, "name": "car", "isthing": 1},
    {"id": 20, "name": "sky", "isthing": 0},
]


def _ids(text):
    """Draws a map of ids: '112' are three pixels, '.' is void."""
    rows = [row.replace(".", "0") for row in text.split()]
    return np.array([[int(c) for c in row] for row in rows])


def _segment(segment, category=7, **more):
    return {"id": segment, "category_id": category, **more}


class Files:
    """Ground truth and predictions in a folder, to be spoiled by tests."""

    def __init__(self, folder: pathlib.Path):
        self.folder = folder
        self.contents = {
            "gt": {"annotations": [], "categories": _CATEGORIES},
            "pred": {"annotations": []},
        }

    def add(self, kind, text, segments, image_id=1):
        (self.folder / kind).mkdir(exist_ok=True)
        ids_hw = _ids(text)
        for segment in segments:
            if kind == "gt":
                area = int((ids_hw == segment["id"]).sum())
                segment.setdefault("area", area)
        name = f"{image_id}.png"
        picture = Image.fromarray(coco_format.encode_ids(ids_hw))
        picture.save(self.folder / kind / name)
        self.contents[kind]["annotations"].append(
            {
                "image_id": image_id,
                "file_name": name,
                "segments_info": segments,
            }
        )

    def write(self):
        paths = []
        for kind, content in self.contents.items():
            paths.append(self.folder / f"{kind}.json")
            paths[-1].write_text(json.dumps(content))
        return paths

    def score(self, **options):
        return coco_panoptic.compute_panoptic_quality(*self.write(), **options)


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def _counts(result, name="car"):
    (quality,) = [c for c in result.per_class if c.name == name]
    return quality.tp, quality.fp, quality.fn


def test_matches_are_counted_by_category(files):
    true = [_segment(1), _segment(2), _segment(3, 20)]
    files.add("gt", "1122 1122 3333", true)
    predicted = [_segment(8), _segment(9), _segment(4, 20)]
    files.add("pred", "8899 8844 4444", predicted)
    result = files.score()
    assert _counts(result) == (1, 1, 1)
    assert _counts(result, "sky") == (1, 0, 0)
    assert result.stuff.pq == pytest.approx(4 / 6)
    assert result.things.sq == 1.0
    assert result.warnings == ()


def test_an_iou_of_exactly_one_half_is_no_match(files):
    files.add("gt", "1122", [_segment(1), _segment(2, 20)])
    files.add("pred", "5555", [_segment(5)])
    assert _counts(files.score()) == (0, 1, 1)


def test_void_does_not_count_in_unions(files):
    files.add("gt", "11..", [_segment(1)])
    files.add("pred", "5555", [_segment(5)])
    assert _counts(files.score()) == (1, 0, 0)


def test_half_on_void_is_not_forgiven_but_more_is(files):
    files.add("gt", "..22", [_segment(2, 20)])
    files.add("pred", "5566", [_segment(5), _segment(6, 20)])
    files.add("gt", "..22", [_segment(2, 20)], image_id=2)
    files.add("pred", ".666", [_segment(6)], image_id=2)
    files.add("gt", "..22", [_segment(2, 20)], image_id=3)
    files.add("pred", ".66.", [_segment(6)], image_id=3)
    # Image 1: all on void; 2: a third; 3: exactly half.
    assert _counts(files.score())[1] == 2


def test_crowd_is_neither_missed_nor_matched_and_forgives_its_class(files):
    files.add("gt", "1111 2222", [_segment(1, iscrowd=1), _segment(2, 20)])
    files.add(
        "pred", "5566 7777", [_segment(i) for i in (5, 6)] + [_segment(7, 20)]
    )
    assert _counts(files.score()) == (0, 0, 0)


@pytest.mark.parametrize(("last", "false_positives"), [(3, 1), (1, 2)])
def test_of_several_crowd_segments_only_the_last_one_forgives(
    files, last, false_positives
):
    crowd = [_segment(i, iscrowd=1) for i in (4 - last, last)]
    files.add("gt", "1122 3322", [*crowd, _segment(2, 20)])
    predicted = [_segment(i) for i in (5, 6, 8)]
    files.add("pred", "5577 6877", [*predicted, _segment(7, 20)])
    assert _counts(files.score()) == (0, false_positives, 0)


def test_areas_of_true_segments_are_those_of_the_json_file(files):
    files.add("gt", "1122", [_segment(1, area=4), _segment(2, 20)])
    files.add("pred", "5577", [_segment(5), _segment(7, 20)])
    result = files.score()
    # 2 shared pixels of 2 predicted and 4 stated ones: IoU 0.5.
    assert _counts(result) == (0, 1, 1)
    assert "Image 1" in result.warnings[0]
    assert "area 4" in result.warnings[0]


def test_a_true_segment_without_pixels_is_missed_with_a_warning(files):
    files.add("gt", "22", [_segment(1, area=5), _segment(2, 20)])
    files.add("pred", "77", [_segment(7, 20)])
    result = files.score()
    assert _counts(result) == (0, 0, 1)
    assert "segment 1" in result.warnings[0]


def test_a_true_id_that_is_not_listed_is_background_with_a_warning(files):
    files.add("gt", "1122", [_segment(2, 20)])
    files.add("pred", "5577", [_segment(5), _segment(7, 20)])
    result = files.score()
    assert _counts(result) == (0, 1, 0)
    assert "segment 1 (2 pixels) is in the PNG but" in result.warnings[0]


def test_impossible_areas_are_refused(files):
    files.add("gt", "1111", [_segment(1, area=1)])
    files.add("pred", "5555", [_segment(5)])
    with pytest.raises(errors.DataError, match=r"Image 1: .*segment 1 "):
        files.score()


def test_images_without_ground_truth_are_left_out(files):
    files.add("gt", "11", [_segment(1)])
    files.add("pred", "11", [_segment(1)])
    files.add("pred", "11", [_segment(1)], image_id=2)
    result = files.score()
    assert result.num_images == 1
    assert _counts(result) == (1, 0, 0)


def test_the_number_of_threads_changes_nothing(files):
    rng = np.random.default_rng(0)
    for i in range(9):
        for kind in ("gt", "pred"):
            ids = rng.integers(1, 4, (6, 6))
            text = " ".join("".join(map(str, row)) for row in ids)
            segments = [_segment(int(s)) for s in np.unique(ids)]
            files.add(kind, text, segments, image_id=i)
    assert files.score(num_threads=1) == files.score(num_threads=4)


def _remove_prediction(files):
    files.contents["pred"]["annotations"].clear()


def _unlist(files):
    files.contents["pred"]["annotations"][0]["segments_info"].pop()


def _list_too_many(files):
    infos = files.contents["pred"]["annotations"][0]["segments_info"]
    infos.append(_segment(1234))


def _list_twice(files):
    infos = files.contents["pred"]["annotations"][0]["segments_info"]
    infos.append(infos[0])


def _use_unknown_category(files):
    infos = files.contents["pred"]["annotations"][0]["segments_info"]
    infos[0]["category_id"] = 99


def _forget_category(files):
    infos = files.contents["pred"]["annotations"][0]["segments_info"]
    del infos[0]["category_id"]


def _use_unknown_true_category(files):
    infos = files.contents["gt"]["annotations"][0]["segments_info"]
    infos[0]["category_id"] = 98


def _remove_categories(files):
    del files.contents["gt"]["categories"]


def _change_size(files):
    picture = Image.new("RGB", (5, 5), (1, 0, 0))
    picture.save(files.folder / "pred" / "42.png")


def _remove_png(files):
    (files.folder / "pred" / "42.png").unlink()


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (_remove_prediction, "no prediction for 1 of 1 images.*image 42"),
        (_unlist, r"Image 42 .*segment 2 \(2 pixels\) is in .*42\.png"),
        (_list_too_many, "Image 42: segment 1234 .* but not in .*42.png"),
        (_list_twice, r"pred\.json: Image 42: segment 1 is listed more than"),
        (_use_unknown_category, "Image 42: segment 1 .* category 99"),
        (_forget_category, "Image 42: .*lacks"),
        (_use_unknown_true_category, "ground truth has the category 98"),
        (_remove_categories, "gt.json has no `categories`"),
        (_change_size, r"Image 42: .*\(5, 5\).*\(1, 4\)"),
        (_remove_png, "42.png does not exist"),
    ],
)
def test_files_that_disagree_are_refused_by_name(files, spoil, message):
    files.add("gt", "1122", [_segment(1), _segment(2, 20)], image_id=42)
    files.add("pred", "1122", [_segment(1), _segment(2, 20)], image_id=42)
    spoil(files)
    with pytest.raises(errors.DataError, match=message):
        files.score()


def _run(*arguments):
    command = [sys.executable, "-m", "deeplab2_like.metrics.coco_main"]
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=pathlib.Path(__file__).resolve().parents[2],
    )


def test_the_program_prints_a_table_and_writes_json(files, tmp_path):
    files.add("gt", "1122", [_segment(1), _segment(2, 20)])
    files.add("pred", "1122", [_segment(1), _segment(2, 20)])
    gt_json, pred_json = files.write()
    output = tmp_path / "pq.json"
    done = _run(
        f"--gt_json={gt_json}",
        f"--pred_json={pred_json}",
        f"--output_json={output}",
    )
    assert done.returncode == 0, done.stderr
    assert "car" in done.stdout
    content = json.loads(output.read_text())
    assert content["things"]["pq"] == 1.0


def test_the_program_says_what_is_wrong_in_one_line(tmp_path):
    done = _run(f"--gt_json={tmp_path / 'no.json'}", "--pred_json=x.json")
    assert done.returncode == errors.DataError.exit_code
    assert done.stderr.count("\n") == 1
    assert "no.json does not exist" in done.stderr
