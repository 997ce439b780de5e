# SPDX-License-Identifier: Apache-2.0
"""What cityscapesScripts, the tool of Cityscapes, says of the same files.

It runs where `cityscapesscripts` and `pyquaternion` are installed, both with
`pip install --no-deps`: its other requirements are of its graphical tools, and
its `typing` would hide Python's.
"""

import json

import numpy as np
import pytest
from PIL import Image

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import coco_panoptic
from deeplab2_like.metrics.cityscapes_precision import CityscapesPrecision
from deeplab2_like.metrics.mean_iou import MeanIoU
from deeplab2_like.metrics.panoptic_quality import PanopticQuality
from deeplab2_like.results.cityscapes_writer import CityscapesWriter
from deeplab2_like.results.panoptic_result import PanopticResult

_WHY = "cityscapesscripts and pyquaternion (pip install --no-deps) are needed"
pytest.importorskip("pyquaternion", reason=_WHY)
pytest.importorskip("cityscapesscripts", reason=_WHY)

_DATA = descriptor_lib.load("cityscapes_panoptic")
_SIZE = (120, 240)
# Labels of the polygons, from below: groups, what is not scored, what is not
# drawn (license plate), and what was deleted.
_POLYGONS = (
    ("road", 0), ("sky", 0), ("building", 0), ("polegroup", 0),
    ("persongroup", 0), ("person", 0), ("person", 0), ("cargroup", 0),
    ("car", 0), ("license plate", 0), ("car", 1), ("car", 0), ("caravan", 0),
    ("caravangroup", 0), ("trailer", 0), ("bicyclegroup", 0), ("bicycle", 0),
    ("rider", 0), ("ego vehicle", 0), ("out of roi", 0), ("vegetation", 0),
    ("person", 0), ("car", 0),
)  # fmt: skip


@pytest.fixture(autouse=True)
def _old_numpy(monkeypatch):
    """Gives the scripts a function that NumPy 2.4 has dropped."""
    monkeypatch.setattr(np, "in1d", lambda a, b: np.isin(a, b).ravel(), False)


def write_city(miniatures, root, *, scored_only=False):
    """Writes polygons, and the label images that the scripts make of them."""
    from cityscapesscripts.helpers.annotation import Annotation
    from cityscapesscripts.preparation import json2instanceImg, json2labelImg

    random = np.random.default_rng(3)
    polygons = [
        one
        for one in _POLYGONS
        if not scored_only or one[0] not in ("caravan", "trailer")
    ]
    for number in range(6):
        objects = []
        for place, (label, deleted) in enumerate(polygons):
            size = np.array([240, 120] if place < 2 else [60, 40])
            corner = random.integers(0, 120, 2) * (place > 1) * [1.6, 0.8]
            box = (
                corner[0],
                corner[1],
                *(corner + random.uniform(0.3, 1) * size),
            )
            left, top, right, bottom = (round(float(v)) for v in box)
            objects.append(
                {
                    "label": label,
                    "deleted": deleted,
                    "polygon": [
                        [left, top], [right, top], [right, bottom],
                        [left, bottom],
                    ],
                }
            )  # fmt: skip
        name = miniatures.name_frame("munster", number)
        place = root / "gtFine" / "val" / "munster"
        place.mkdir(parents=True, exist_ok=True)
        path = place / f"{name}_gtFine_polygons.json"
        path.write_text(
            json.dumps(
                {
                    "imgHeight": _SIZE[0],
                    "imgWidth": _SIZE[1],
                    "objects": objects,
                }
            )
        )
        annotation = Annotation()
        annotation.fromJsonFile(str(path))
        for kind, make, dtype in (
            ("instanceIds", json2instanceImg.createInstanceImage, np.uint16),
            ("labelIds", json2labelImg.createLabelImage, np.uint8),
        ):
            drawn = np.array(make(annotation, "ids")).astype(dtype)
            miniatures.save(place / f"{name}_gtFine_{kind}.png", drawn)
        photo = root / "leftImg8bit" / "val" / "munster"
        miniatures.save_photo(photo / f"{name}_leftImg8bit.png", number, _SIZE)


def make_official_json(root, *, by_index=False):
    from cityscapesscripts.preparation import createPanopticImgs

    folder = str(root / "gtFine")
    createPanopticImgs.convert2panoptic(folder, folder, by_index, ["val"])


@pytest.mark.parametrize("by_index", [False, True])
def test_the_scripts_json_and_the_label_images_give_the_same_records(
    miniatures, prepare, read_records, tmp_path, by_index
):
    root = tmp_path / "root"
    write_city(miniatures, root)
    make_official_json(root, by_index=by_index)
    found = []
    for form in ("label-images", "coco-panoptic"):
        prepare("cityscapes", root, tmp_path / form, splits=["val"], form=form)
        found.append(read_records(tmp_path / form, "val"))
        content = json.loads((tmp_path / form / "manifest.json").read_text())
        found.append(content["splits"]["val"])
    assert found[0] == found[2]
    counts = [
        {key: one[key] for key in ("crowds", "instances", "pixels")}
        for one in (found[1], found[3])
    ]
    assert counts[0] == counts[1]
    suffix = "_trainId" if by_index else ""
    path = root / "gtFine" / f"cityscapes_panoptic_val{suffix}.json"
    segments = [
        segment
        for image in json.loads(path.read_text())["annotations"]
        for segment in image["segments_info"]
    ]
    assert found[1]["crowds"] == sum(s["iscrowd"] for s in segments) > 0
    area = sum(s["area"] for s in segments)
    assert found[1]["void_pixels"] == 6 * _SIZE[0] * _SIZE[1] - area


def predict(panoptic, seed):
    """Returns a prediction that is right in part, with scores."""
    random = np.random.default_rng(seed)
    predicted = np.roll(panoptic, tuple(random.integers(-3, 4, 2)), (0, 1))
    for key in np.unique(predicted).tolist():
        index, instance = divmod(key, 1000)
        mask = predicted == key
        if index == 255 or (instance == 0 and index in _DATA.thing_ids):
            predicted[mask] = [13_900, 11_900, 2000][random.integers(3)]
        elif random.random() < 0.2:
            predicted[mask] = [13_901, 11_901, 8000, 18_905][random.integers(4)]
    predicted[:4, :9] = 255_000
    ids = [i for i in np.unique(predicted).tolist() if i != 255_000]
    # Some scores are equal.
    scores = random.integers(1, 9, len(ids)) / 10
    return predicted, ids, scores


@pytest.fixture
def predictions(miniatures, prepare, read_records, decode, tmp_path):
    """Returns the folder, the results, and (truth, prediction) by name."""
    root, out = tmp_path / "root", tmp_path / "results"
    write_city(miniatures, root, scored_only=True)
    make_official_json(root)
    prepare("cityscapes", root, tmp_path / "records", splits=["val"])
    maps = {}
    with CityscapesWriter(out, _DATA, split="val") as writer:
        records = read_records(tmp_path / "records", "val")
        for seed, (name, features) in enumerate(records.items()):
            truth = decode(features)
            predicted, ids, scores = predict(truth, seed)
            maps[name] = truth, predicted, ids, scores
            result = PanopticResult.from_prediction(
                predicted, _DATA, segment_ids=ids, segment_scores=scores
            )
            assert writer.add(result, f"{name}_leftImg8bit.png") == name
    return root, out, maps


def test_panoptic_qualities_are_those_of_the_script(predictions):
    from cityscapesscripts.evaluation import (
        evalPanopticSemanticLabeling as script,  # noqa: N813
    )

    root, out, maps = predictions
    base = root / "gtFine" / "cityscapes_panoptic_val"
    results = out / "panoptic" / "cityscapes_panoptic_val"
    true = json.loads(base.with_suffix(".json").read_text())
    predicted = json.loads(results.with_suffix(".json").read_text())
    by_id = {one["image_id"]: one for one in predicted["annotations"]}
    categories = {one["id"]: one for one in true["categories"]}
    stat = script.pq_compute_single_core(
        0,
        [(one, by_id[one["image_id"]]) for one in true["annotations"]],
        str(base),
        str(results),
        categories,
    )
    expected = script.average_pq(stat, categories)
    assert 0.1 < expected["All"]["pq"] < 0.9
    of_files = coco_panoptic.compute_panoptic_quality(
        base.with_suffix(".json"), results.with_suffix(".json")
    )
    of_maps = PanopticQuality(_DATA)
    for truth, found, _, _ in maps.values():
        of_maps.update(truth, found)
    for ours in (of_files, of_maps.result()):
        for group in ("All", "Things", "Stuff"):
            value = getattr(ours, group.lower())
            for key in ("pq", "sq", "rq"):
                assert getattr(value, key) == pytest.approx(
                    expected[group][key], abs=1e-9
                )
            assert value.num_classes == expected[group]["n"]
        for one, category in zip(
            ours.per_class, _DATA.category_ids, strict=True
        ):
            theirs = expected["per_class"][category]["pq"]
            assert np.nan_to_num(one.pq) == pytest.approx(theirs, abs=1e-9)


def test_ious_are_those_of_the_script(predictions, monkeypatch):
    from cityscapesscripts.evaluation import (
        evalPixelLevelSemanticLabeling as script,  # noqa: N813
    )

    root, out, maps = predictions
    monkeypatch.setattr(script.args, "quiet", True)
    monkeypatch.setattr(script.args, "JSONOutput", False)
    monkeypatch.setattr(script.args, "predictionPath", str(out / "semantic"))
    monkeypatch.setattr(script.args, "predictionWalk", None)
    truths = sorted((root / "gtFine" / "val").rglob("*_labelIds.png"))
    truths = [str(path) for path in truths]
    found = [script.getPrediction(script.args, path) for path in truths]
    expected = script.evaluateImgLists(found, truths, script.args)
    iou = MeanIoU(_DATA)
    for truth, predicted, _, _ in maps.values():
        iou.update(truth // 1000, predicted // 1000)
    ours = iou.result()
    assert ours.miou == pytest.approx(expected["averageScoreClasses"], abs=1e-9)
    for name, value in zip(_DATA.class_names, ours.per_class, strict=True):
        assert value == pytest.approx(
            expected["classScores"][name], abs=1e-9, nan_ok=True
        )


def test_average_precisions_are_those_of_the_script(predictions, monkeypatch):
    from cityscapesscripts.evaluation import (
        evalInstanceLevelSemanticLabeling as script,  # noqa: N813
    )

    root, out, maps = predictions
    # JSON files of intermediate results, in which NumPy 2 gives other types.
    monkeypatch.setattr(script, "writeDict2JSON", lambda *_: None)
    for name, value in {
        "quiet": True,
        "JSONOutput": False,
        "gtInstancesFile": str(out / "gtInstances.json"),
        "predictionPath": str(out / "instance"),
        "predictionWalk": None,
    }.items():
        monkeypatch.setattr(script.args, name, value)
    truths = sorted((root / "gtFine" / "val").rglob("*_instanceIds.png"))
    truths = [str(path) for path in truths]
    found = [script.getPrediction(path, script.args) for path in truths]
    expected = script.evaluateImgLists(found, truths, script.args)
    precision = CityscapesPrecision(_DATA)
    for truth, predicted, ids, scores in maps.values():
        precision.update(truth, predicted, ids, scores)
    ours = precision.result()
    averages = expected["averages"]
    assert 0.05 < averages["allAp"] < 0.95
    assert ours.ap == pytest.approx(averages["allAp"], abs=1e-9)
    assert ours.ap50 == pytest.approx(averages["allAp50%"], abs=1e-9)
    np.testing.assert_allclose(
        ours.per_class, np.array(expected["resultApMatrix"])[0], atol=1e-9
    )


def test_masks_of_objects_are_those_of_the_map(predictions):
    _, out, maps = predictions
    for name, (_, predicted, _, _) in maps.items():
        lines = (out / "instance" / f"{name}.txt").read_text().splitlines()
        things = [
            key
            for key in np.unique(predicted).tolist()
            if key // 1000 in _DATA.thing_ids
        ]
        assert len(lines) == len(things)
        drawn = np.zeros(_SIZE, int)
        for line in lines:
            path, category, score = line.split(" ")
            mask = np.asarray(Image.open(out / "instance" / path))
            assert {*np.unique(mask).tolist()} == {0, 255}
            drawn += mask > 0
            assert int(category) in _DATA.category_ids[11:]
            assert 0 < float(score) < 1
        is_thing = np.isin(predicted // 1000, _DATA.thing_ids)
        np.testing.assert_array_equal(drawn, is_thing)
