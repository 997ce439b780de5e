# SPDX-License-Identifier: Apache-2.0
import concurrent.futures
import json
import multiprocessing
import pathlib
import pickle
import resource
import shutil
import subprocess
import sys
import types

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.exports import exported_model
from deeplab2_like.labels import coco_format
from deeplab2_like.results import raw_predictions
from deeplab2_like.scenes import scene
from deeplab2_like.storage import image_files


def _make_image(seed=0, size=(80, 120)):
    return scene.make_scene(seed, size).image


def _write_image(path, seed=0, size=(80, 120)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(_make_image(seed, size)).save(path)
    return path


@pytest.fixture(scope="module")
def predictor(exported):
    return predict.Predictor.from_saved_model(exported)


@pytest.fixture
def _loaded(predictor, monkeypatch):
    """Makes loading fast, from a folder of any name."""
    monkeypatch.setattr(
        predict.Predictor, "from_saved_model", lambda _: predictor
    )
    monkeypatch.setattr(exported_model, "load_info", lambda _: predictor.info)
    monkeypatch.setattr(
        exported_model, "load_descriptor", lambda _: predictor.descriptor
    )


def test_files_of_several_sizes_are_predicted_in_one_call(predictor, tmp_path):
    paths = [
        _write_image(tmp_path / "a.png", 1),
        _write_image(tmp_path / "b.png", 2, (100, 60)),
    ]
    data = [paths[0].read_bytes(), b"hello", paths[1].read_bytes()]
    first, refused, second = predictor.predict_encoded(data)
    for path, found in zip(paths, (first, second), strict=True):
        expected = predictor.predict(path)
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)
        assert found.segments_info == expected.segments_info
    assert isinstance(refused, errors.DataError)
    assert "neither a JPEG nor a PNG" in str(refused)
    with pytest.raises(errors.DataError, match="has no image"):
        predictor.predict_encoded([])


def test_models_without_the_compact_signature_say_so(predictor):
    model = types.SimpleNamespace(signatures={"serving_default": None})
    old = predict.Predictor(model, predictor.info, predictor.descriptor)
    with pytest.raises(errors.ExportError, match="--compact_signature=true"):
        old.predict_encoded([b""])


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with three images and three files that are none."""
    folder = tmp_path_factory.mktemp("photos")
    _write_image(folder / "a.png", 1)
    _write_image(folder / "b.png", 2, (100, 60))
    _write_image(folder / "sub" / "a.png", 3)
    (folder / "text.jpg").write_text("this is no image")
    data = (folder / "a.png").read_bytes()
    (folder / "half.png").write_bytes(data[: len(data) // 2])
    Image.new("L", (6000, 6000)).save(folder / "large.png")
    return folder


@pytest.mark.slow
def test_a_run_predicts_what_its_export_predicts(predictor, tiny_run, tmp_path):
    path = _write_image(tmp_path / "a.png")
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


def test_the_result_has_the_size_of_the_image_and_named_segments(predictor):
    found = predictor.predict(_make_image())
    assert found.segmentation.shape == (80, 120)
    assert found.segments_info
    for info in found.segments_info:
        area = np.sum(found.segmentation == info["id"])
        assert info["area"] == area
        assert info["category_name"] in scene.CLASS_NAMES
        assert info["score"] >= 0


def test_pixels_files_and_pillow_images_give_the_same(predictor, tmp_path):
    pixels = _make_image()
    expected = predictor.predict(pixels)
    path = _write_image(tmp_path / "a.png")
    for image in (path, str(path), Image.open(path)):
        found = predictor.predict(image)
        np.testing.assert_array_equal(found.segmentation, expected.segmentation)
        assert found.segments_info == expected.segments_info


def test_transformers_tools_can_read_the_result(predictor):
    found = predictor.predict(_make_image()).to_transformers()
    assert set(found) == {"segmentation", "segments_info"}


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((5, 5), np.uint8), r"dimensions \[5, 5\]"),
        (np.zeros((5, 5, 4), np.uint8), r"uint8 \[H, W, 3\]"),
        (np.zeros((5, 5, 3), np.float32), "type float32"),
        (np.zeros((1, 5, 5, 3), np.uint8), r"uint8 \[H, W, 3\]"),
        (np.zeros((0, 5, 3), np.uint8), "5 x 0 pixels"),
        (np.zeros((5000, 5000, 3), np.uint8), "5000 x 5000 pixels"),
        ("nothing.jpg", "does not exist"),
        (None, r"uint8 \[H, W, 3\]"),
    ],
)
def test_what_is_no_image_is_one_sentence(predictor, image, message):
    with pytest.raises(errors.DataError, match=message):
        predictor.predict(image)


def test_threads_may_share_a_predictor(predictor):
    images = [_make_image(seed) for seed in range(4)] * 2
    expected = [predictor.predict_maps(image) for image in images[:4]] * 2
    with concurrent.futures.ThreadPoolExecutor(4) as executor:
        found = list(executor.map(predictor.predict_maps, images))
    for maps, others in zip(found, expected, strict=True):
        for key in others:
            np.testing.assert_array_equal(maps[key], others[key])


def _measure_memory():
    """Returns the resident memory of this process in MB."""
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 1e6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="memory is read in /proc")
def test_images_of_240_sizes_take_no_more_memory_than_of_a_few(predictor):
    sizes = [(40 + n % 16, 50 + n // 16) for n in range(240)]
    images = [_make_image(n, size) for n, size in enumerate(sizes)]
    for image in images[:40]:
        predictor.predict(image)
    before = _measure_memory()
    for image in images[40:]:
        assert predictor.predict(image).segmentation.shape == image.shape[:2]
    assert _measure_memory() - before < 150


@pytest.mark.slow
def test_a_pickled_predictor_loads_its_folder_again(
    predictor, exported, monkeypatch
):
    monkeypatch.chdir(exported.parent)
    relative = predict.Predictor.from_saved_model(exported.name)
    monkeypatch.chdir("/")
    again = pickle.loads(pickle.dumps(relative))
    image = _make_image()
    np.testing.assert_array_equal(
        again.predict(image).segmentation, predictor.predict(image).segmentation
    )
    loose = predict.Predictor(
        predictor._model, predictor.info, predictor.descriptor
    )
    with pytest.raises(errors.ExportError, match="cannot be pickled"):
        pickle.dumps(loose)


@pytest.mark.slow
def test_a_spawned_worker_predicts_with_a_pickled_predictor(predictor):
    image = _make_image()
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, spawn) as executor:
        maps = executor.submit(predictor.predict_maps, image).result()
    np.testing.assert_array_equal(
        maps["panoptic"], predictor.predict_maps(image)["panoptic"]
    )


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_served_photo_has_the_map_of_the_predicted_file(
    predictor, tmp_path, kind
):
    serve = predictor._model.signatures["encoded"]
    image = Image.fromarray(_make_image())
    for orientation in range(1, 9):
        tags = Image.Exif()
        tags[0x0112] = orientation
        path = tmp_path / f"{orientation}.{kind.lower()}"
        image.save(path, kind, exif=tags)
        served = serve(image_bytes=tf.constant([path.read_bytes()]))
        panoptic = served["panoptic"].numpy()[0]
        assert panoptic.shape == ((120, 80) if orientation > 4 else (80, 120))
        np.testing.assert_array_equal(
            panoptic, predictor.predict_maps(path)["panoptic"]
        )


@pytest.mark.usefixtures("_loaded")
def test_images_of_one_name_in_two_folders_have_outputs_of_their_own(tmp_path):
    for name in ("north/1.png", "south/1.png", "south/1.jpg"):
        _write_image(tmp_path / name)
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


@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("exif", ["apply", "ignore"])
def test_photos_are_predicted_upright_or_as_stored(tmp_path, exif):
    tags = Image.Exif()
    tags[0x0112] = 6
    Image.fromarray(_make_image()).save(tmp_path / "a.jpg", exif=tags)
    done = predict.predict_files(
        "model", [tmp_path / "a.jpg"], tmp_path / "out", exif=exif
    )
    (image,) = json.loads(done.json_path.read_text())["images"]
    expected = (120, 80) if exif == "apply" else (80, 120)
    assert (image["height"], image["width"]) == expected


@pytest.mark.usefixtures("_loaded")
def test_what_a_folder_holds_besides_is_named(tmp_path, capsys):
    _write_image(tmp_path / "a.png")
    _write_image(tmp_path / "b.png")
    (tmp_path / "notes.txt").write_text("no image")
    page = Image.fromarray(_make_image())
    page.save(tmp_path / "c.tif", save_all=True, append_images=[page])
    done = predict.predict_files("model", [tmp_path], tmp_path / "out")
    assert done.num_images == 3
    printed = capsys.readouterr().err
    assert "1 file was passed over" in printed
    assert "notes.txt" in printed
    assert "c.tif has 2 pages: the first is read" in printed


def test_a_folder_that_is_no_export_is_one_sentence(tmp_path, exported):
    with pytest.raises(errors.ExportError, match="is not a folder"):
        predict.Predictor.from_saved_model(tmp_path / "nothing")
    with pytest.raises(errors.ExportError, match="is no SavedModel"):
        predict.Predictor.from_saved_model(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(exported, copy)
    shutil.rmtree(copy / "variables")
    with pytest.raises(errors.ExportError, match="cannot be loaded"):
        predict.Predictor.from_saved_model(copy)
    (copy / "saved_model.pb").write_bytes(b"nonsense")
    with pytest.raises(errors.ExportError, match="cannot be loaded"):
        predict.Predictor.from_saved_model(copy)


def test_a_model_without_instances_gives_a_segment_for_each_class(predictor):
    class Semantic(predict.Predictor):
        def _run(self, pixels):
            assert pixels.shape == (2, 3, 3)
            return {
                "semantic": np.array([[0, 0, 5], [2, 2, 255]], np.int32),
                "segment_id": np.array([0, 5000, 0, 0], np.int32),
                "segment_score": np.array([0.5, 0.25, 0, 0], np.float32),
                "segment_is_valid": np.array([True, True, False, False]),
            }

    semantic = Semantic(predictor._model, predictor.info, predictor.descriptor)
    found = semantic.predict(np.zeros((2, 3, 3), np.uint8))
    segments = [(i["label_id"], i["score"]) for i in found.segments_info]
    assert segments == [(0, 0.5), (5, 0.25)]
    np.testing.assert_array_equal(found.segmentation, [[1, 1, 2], [0, 0, 0]])


@pytest.mark.usefixtures("_loaded")
def test_results_are_written_for_each_image_of_a_folder(photos, tmp_path):
    out = tmp_path / "out"
    done = predict.predict_files("model", [photos], out)
    assert done.num_images == 3
    assert len(done.problems) == 3
    written = {p.relative_to(out).as_posix() for p in out.rglob("*.*")}
    assert written == {
        "panoptic.json",
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


@pytest.mark.usefixtures("_loaded")
def test_left_out_images_are_named_with_the_reason(photos, tmp_path):
    done = predict.predict_files("model", [photos], tmp_path / "out")
    half, large, text = done.problems
    assert "half.png" in half
    assert "6000 x 6000" in large
    assert "text.jpg is not an image" in text


@pytest.mark.usefixtures("_loaded")
def test_numbered_images_keep_their_numbers_as_ids(tmp_path):
    for name in ("000000000139.png", "000000000285.png"):
        _write_image(tmp_path / "coco" / name)
    done = predict.predict_files("model", [tmp_path / "coco"], tmp_path / "out")
    content = json.loads(done.json_path.read_text())
    assert [image["id"] for image in content["images"]] == [139, 285]


@pytest.mark.usefixtures("_loaded")
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


@pytest.mark.usefixtures("_loaded")
def test_nothing_is_written_when_no_image_can_be_read(photos, tmp_path):
    out = tmp_path / "out"
    predict.predict_files("model", [photos / "a.png"], out)
    before = (out / "panoptic.json").read_text()
    with pytest.raises(errors.DataError, match="is not an image"):
        predict.predict_files("model", [photos / "text.jpg"], out)
    assert (out / "panoptic.json").read_text() == before


@pytest.mark.usefixtures("_loaded")
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


@pytest.mark.usefixtures("_loaded")
@pytest.mark.parametrize("converts", [True, False])
def test_label_maps_are_written_on_request(
    photos, tmp_path, predictor, converts
):
    out = tmp_path / "out"
    predict.predict_files(
        "model",
        [photos / "a.png", photos / "sub"],
        out,
        raw_panoptic_format="three_channel_png",
        convert_raw_to_eval_ids=converts,
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
    file = _write_image(tmp_path / "new.png")
    assert [f.path for f in image_files.find_images([tmp_path])] == [file]


def test_inputs_are_checked_before_the_model_is_loaded(tmp_path):
    _write_image(tmp_path / "a.png")
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
