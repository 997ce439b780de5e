# SPDX-License-Identifier: Apache-2.0
"""Images and folders in, files out: `predict_files` and its command."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.labels import coco_format
from deeplab2_like.results import raw_predictions
from deeplab2_like.storage import image_files


@pytest.mark.slow
def test_a_run_predicts_what_its_export_predicts(
    predictor, tiny_run, tmp_path, write_image
):
    path = write_image(tmp_path / "a.png")
    done = predict.predict_files(tiny_run, [path], tmp_path / "out")
    assert done.num_images == 1
    found = predictor.predict(path)
    content = json.loads(done.json_path.read_text())
    (annotation,) = content["annotations"]
    assert len(annotation["segments_info"]) == len(found.segments_info)
    ids = coco_format.load_segment_ids(tmp_path / "out" / "a.panoptic.png")
    counts = np.unique(ids, return_counts=True)[1]
    expected = np.unique(found.segmentation, return_counts=True)[1]
    np.testing.assert_array_equal(np.sort(counts), np.sort(expected))


@pytest.mark.usefixtures("loaded")
def test_images_of_one_name_in_two_folders_have_outputs_of_their_own(
    tmp_path, write_image
):
    for name in ("north/1.png", "south/1.png", "south/1.jpg"):
        write_image(tmp_path / name)
    out = tmp_path / "out"
    folders = [tmp_path / "north", tmp_path / "south"]
    done = predict.predict_files("model", folders, out)
    names = {p.relative_to(out).as_posix() for p in out.rglob("*.overlay.png")}
    assert names == {
        "north/1.overlay.png",
        "south/1.overlay.png",
        "south/1-2.overlay.png",
    }
    images = json.loads(done.json_path.read_text())["images"]
    assert {image["file_name"] for image in images} == {
        "north/1.png",
        "south/1.png",
        "south/1.jpg",
    }


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_photos_are_predicted_upright_or_as_stored(tmp_path, exif, make_image):
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(make_image()).save(tmp_path / "a.jpg", exif=tags)
    done = predict.predict_files(
        "model",
        [tmp_path / "a.jpg"],
        tmp_path / "out",
        options=predict.PredictOptions(exif=exif),
    )
    (image,) = json.loads(done.json_path.read_text())["images"]
    expected = (120, 80) if exif == "apply" else (80, 120)
    assert (image["height"], image["width"]) == expected


@pytest.mark.usefixtures("loaded")
def test_what_a_folder_holds_besides_is_named(
    tmp_path, capsys, make_image, write_image
):
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no image")
    page = Image.fromarray(make_image())
    page.save(tmp_path / "c.tif", save_all=True, append_images=[page])
    done = predict.predict_files("model", [tmp_path], tmp_path / "out")
    assert done.num_images == 3
    printed = capsys.readouterr().err
    assert "1 file was passed over" in printed
    assert "notes.txt" in printed
    assert "c.tif has 2 pages: the first is read" in printed


@pytest.mark.usefixtures("loaded")
def test_results_are_written_for_each_image_of_a_folder(photos, tmp_path):
    out = tmp_path / "out"
    done = predict.predict_files("model", [photos], out)
    assert done.num_images == 3
    assert len(done.problems) == 3
    written = {p.relative_to(out).as_posix() for p in out.rglob("*.*")}
    assert written == {
        "panoptic.json",
        "progress.jsonl",
        "failures.json",
        *(
            f"{n}.{kind}.png"
            for n in ("a", "b", "sub/a")
            for kind in ("panoptic", "overlay")
        ),
    }
    content = json.loads((out / "panoptic.json").read_text())
    sizes = {i["id"]: (i["height"], i["width"]) for i in content["images"]}
    assert sizes == {"a": (80, 120), "b": (100, 60), "sub/a": (80, 120)}
    assert [i["file_name"] for i in content["images"]][2] == "sub/a.png"
    for annotation in content["annotations"]:
        ids = coco_format.load_segment_ids(out / annotation["file_name"])
        assert ids.shape == sizes[annotation["image_id"]]
        found, areas = np.unique(ids[ids > 0], return_counts=True)
        assert {
            (info["id"], info["area"]) for info in annotation["segments_info"]
        } == set(zip(found.tolist(), areas.tolist(), strict=True))
    overlay = Image.open(out / "a.overlay.png")
    assert overlay.width > overlay.height


@pytest.mark.usefixtures("loaded")
def test_left_out_images_are_named_with_the_reason(photos, tmp_path):
    done = predict.predict_files("model", [photos], tmp_path / "out")
    half, large, text = done.problems
    assert "half.png" in half
    assert "6000 x 6000" in large
    assert "text.jpg is not an image" in text


@pytest.mark.usefixtures("loaded")
def test_numbered_images_keep_their_numbers_as_ids(tmp_path, write_image):
    for name in ("000000000139.png", "000000000285.png"):
        write_image(tmp_path / "coco" / name)
    done = predict.predict_files("model", [tmp_path / "coco"], tmp_path / "out")
    content = json.loads(done.json_path.read_text())
    assert [image["id"] for image in content["images"]] == [139, 285]


@pytest.mark.usefixtures("loaded")
def test_ids_can_be_those_of_the_ground_truth(photos, tmp_path):
    truth = tmp_path / "truth.json"
    images = [
        {"file_name": "val/a.png", "id": 11},
        {"file_name": "val/b.png", "id": "twelve"},
    ]
    truth.write_text(json.dumps({"images": images}))
    done = predict.predict_files(
        "model",
        [photos / "b.png", photos / "a.png"],
        tmp_path / "out",
        image_ids=predict.load_image_ids(truth),
    )
    content = json.loads(done.json_path.read_text())
    assert [image["id"] for image in content["images"]] == ["twelve", 11]
    with pytest.raises(errors.DataError, match=r"half\.png is not among the 2"):
        predict.predict_files(
            "model",
            [photos / "half.png"],
            tmp_path / "out",
            image_ids=predict.load_image_ids(truth),
        )


@pytest.mark.usefixtures("loaded")
def test_nothing_is_written_when_no_image_can_be_read(photos, tmp_path):
    out = tmp_path / "out"
    predict.predict_files("model", [photos / "a.png"], out)
    before = (out / "panoptic.json").read_text()
    with pytest.raises(errors.DataError, match="is not an image"):
        predict.predict_files("model", [photos / "text.jpg"], out)
    assert (out / "panoptic.json").read_text() == before


@pytest.mark.usefixtures("loaded")
def test_an_interrupt_keeps_what_was_done(photos, tmp_path, monkeypatch):
    plain = predict.Predictor.predict_maps
    calls = []

    def interrupted(self, image):
        calls.append(image)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return plain(self, image)

    monkeypatch.setattr(predict.Predictor, "predict_maps", interrupted)
    with pytest.raises(KeyboardInterrupt):
        predict.predict_files("model", [photos], tmp_path / "out")
    content = json.loads((tmp_path / "out/panoptic.json").read_text())
    assert [image["id"] for image in content["images"]] == ["a"]


@pytest.mark.usefixtures("loaded")
@pytest.mark.parametrize("converts", [True, False])
def test_label_maps_are_written_on_request(
    photos, tmp_path, predictor, converts, write_image
):
    out = tmp_path / "out"
    predict.predict_files(
        "model",
        [photos / "a.png", photos / "sub"],
        out,
        options=predict.PredictOptions("three_channel_png", converts),
    )
    raw = {p.relative_to(out).as_posix() for p in out.glob("raw_*/**/*.png")}
    assert raw == {
        f"raw_{kind}/{name}.png"
        for kind in ("semantic", "panoptic")
        for name in ("a", "sub/a")
    }
    maps = predictor.predict_maps(photos / "a.png")
    semantic = np.asarray(Image.open(out / "raw_semantic/a.png"))
    ids = np.array([*predictor.descriptor.category_ids])
    classes = maps["semantic"]
    np.testing.assert_array_equal(
        semantic, ids[classes] if converts else classes
    )
    _, instance = raw_predictions.load_raw_panoptic(
        out / "raw_panoptic/a.png", "three_channel_png"
    )
    np.testing.assert_array_equal(instance, maps["panoptic"] % 1000)
    # They are not taken for images.
    file = write_image(tmp_path / "new.png")
    assert [f.path for f in image_files.find_images([tmp_path])] == [file]


def test_inputs_are_checked_before_the_model_is_loaded(tmp_path, write_image):
    write_image(tmp_path / "a.png")
    with pytest.raises(errors.DataError, match=r"b\.png does not exist"):
        predict.predict_files(
            "no model", [tmp_path / "a.png", tmp_path / "b.png"], tmp_path
        )
    with pytest.raises(errors.DataError, match="is a file"):
        predict.predict_files(
            "no model", [tmp_path / "a.png"], tmp_path / "a.png"
        )


def _run_program(*arguments, program="predict.main"):
    code = f"from deeplab2_like.{program} import cli; cli()"
    return subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=pathlib.Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_the_program_says_what_it_did_and_what_it_left_out(
    exported, photos, tmp_path
):
    out = tmp_path / "out"
    done = _run_program(f"--model={exported}", photos, f"--out={out}")
    assert done.returncode == 3, done.stderr
    assert "3 image(s) predicted" in done.stderr
    assert "ms per image" in done.stderr
    assert f"{out}/panoptic.json" in done.stderr
    assert "3 of 6 images could not be read" in done.stderr
    assert "Traceback" not in done.stderr
    assert "InitializeLog" not in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["photo.jpg", "--out=x"], 2, "--model is missing"),
        (["photo.jpg", "--model=x"], 2, "--out is missing"),
        (["--model=x", "--out=x"], 2, "No image is given"),
        (["photo.jpg", "--model=x", "--out=x"], 3, "photo.jpg does not exist"),
        (["setup.cfg", "--model=x", "--out=x"], 6, "x is not a folder"),
    ],
)
def test_wrong_command_lines_are_one_sentence(arguments, code, message):
    done = _run_program(*arguments)
    assert done.returncode == code
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert "Error:" in done.stderr.splitlines()[-1]


def test_help_shows_the_flags_without_tensorflow():
    for program in ("predict.main", "exports.main"):
        done = _run_program("--help", program=program)
        assert done.returncode == 0
        assert "--out=PATH" in done.stdout
    code = (
        "import sys, deeplab2_like.predict, deeplab2_like.exports.main; "
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
