# SPDX-License-Identifier: Apache-2.0
"""The pipeline of Apache Beam; `make test-beam` runs these tests."""

import io
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.predict import beam_main

pytest.importorskip(
    "apache_beam", reason="Apache Beam is not installed (make test-beam)"
)

_DIRECT = ["--runner=DirectRunner"]


@pytest.fixture
def handled(fake, monkeypatch):
    """Lets the workers load the model that needs no TensorFlow."""
    from deeplab2_like.predict import beam_handler

    monkeypatch.setattr(
        beam_handler.PanopticModelHandler, "load_model", lambda _: fake
    )
    return fake


def _write_records(path, names, flipped=None):
    import tensorflow as tf

    from deeplab2_like.data.records import features

    with tf.io.TFRecordWriter(str(path)) as writer:
        for number, name in enumerate(names):
            pixels = np.zeros((20, 30, 3), np.uint8)
            pixels[3 : 8 + number, 5:15] = 255
            stream = io.BytesIO()
            Image.fromarray(pixels).save(stream, format="PNG")
            writer.write(
                features.encode_example(
                    name=name,
                    image=stream.getvalue(),
                    image_format="png",
                    size=(20, 30),
                )
            )
    if flipped is not None:
        data = bytearray(path.read_bytes())
        data[flipped] ^= 0xFF
        path.write_bytes(data)
    return path


def _load(out):
    content = json.loads((out / "panoptic.json").read_text())
    for key in ("annotations", "images"):
        content[key].sort(key=lambda e: str(e.get("image_id", e.get("id"))))
    return content


def _run(inputs, out, **options):
    return beam_main.predict(
        "model", [str(path) for path in inputs], str(out), _DIRECT, **options
    )


def _compare(out, expected):
    """Compares the results of the pipeline with those of deeplab2-predict."""
    assert _load(out) == _load(expected)
    names = sorted(
        p.relative_to(expected) for p in expected.rglob("*.panoptic.png")
    )
    found = sorted(p.relative_to(out) for p in out.rglob("*.panoptic.png"))
    assert found == names
    for name in names:
        assert (out / name).read_bytes() == (expected / name).read_bytes()


@pytest.mark.slow
def test_the_pipeline_predicts_what_the_program_predicts(
    exported, write_image, tmp_path
):
    for seed, name in enumerate(["a.png", "b.jpg", "sub/a.png"]):
        write_image(tmp_path / "images" / name, seed, (80 + seed, 120))
    out, expected = tmp_path / "out", tmp_path / "expected"
    beam_main.predict(
        str(exported), [str(tmp_path / "images")], str(out), _DIRECT
    )
    predict.predict_files(exported, [tmp_path / "images"], expected)
    _compare(out, expected)


@pytest.mark.usefixtures("handled")
@pytest.mark.parametrize("kind", ["folder", "pattern", "records"])
def test_all_kinds_of_inputs_give_what_the_program_gives(
    write_boxes, tmp_path, kind
):
    images = write_boxes(tmp_path / "images", 23)
    write_boxes(images / "sub", 2)
    inputs = [images]
    if kind == "pattern":
        inputs = [images / "00*.bmp", images / "sub" / "0001.bmp"]
        (images / "0001.bmp").unlink()
    elif kind == "records":
        inputs = [
            _write_records(tmp_path / f"val-0000{n}-of-00002", names)
            for n, names in enumerate((["a.png", "x/b.jpg"], ["c.png"]))
        ]
    out, expected = tmp_path / "out", tmp_path / "expected"
    count, failures = _run(inputs, out, num_shards=4)
    assert failures == []
    result = predict.predict_files("model", inputs, expected)
    assert result.num_images == count
    _compare(out, expected)
    shards = sorted((out / "shards").iterdir())
    assert {p.name[-14:] for p in shards} == {"-of-00004.json"}
    listed = [
        image["id"]
        for path in shards
        for image in json.loads(path.read_text())["images"]
    ]
    assert sorted(map(str, listed)) == [
        str(image["id"]) for image in _load(out)["images"]
    ]
    assert not (out / ".partial").exists()


@pytest.mark.usefixtures("handled")
def test_a_second_run_and_another_order_give_the_same_bytes(
    write_boxes, tmp_path
):
    images = write_boxes(tmp_path / "images", 9)
    out = tmp_path / "out"
    _run([images], out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    _run([images / "*.bmp"], out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_an_attempt_that_fails_is_made_again(
    handled, write_boxes, tmp_path, monkeypatch
):
    from deeplab2_like.predict import beam_files

    images = write_boxes(tmp_path / "images", 5)
    plain = beam_files.write_file
    calls = []

    def fail_once(folder, name, data):
        plain(folder, name, data)
        calls.append(name)
        if len(calls) == 3:
            raise OSError("The worker is gone.")

    monkeypatch.setattr(beam_files, "write_file", fail_once)
    out = tmp_path / "out"
    try:
        _run([images], out)
    except errors.DataError as error:
        assert "The same command runs it again" in str(error)  # noqa: PT017
        _run([images], out)
    predict.predict_files("model", [images], tmp_path / "expected")
    _compare(out, tmp_path / "expected")
    assert handled.calls > 5


@pytest.mark.usefixtures("handled")
def test_what_is_damaged_is_left_out_and_listed(write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 3)
    (images / "0001.bmp").write_bytes(b"no image")
    flipped = _write_records(
        tmp_path / "a.tfrecord", ["a.png", "b.png", "", "/d.png"], flipped=40
    )
    cut = _write_records(tmp_path / "b.tfrecord", ["e.png", "f.png"])
    cut.write_bytes(cut.read_bytes()[:-3])
    text = tmp_path / "c.tfrecord"
    text.write_text("This is no record, but as long as one.")
    out = tmp_path / "out"
    count, failures = _run([images, flipped, cut, text], out)
    assert count == 4
    assert {i["id"] for i in _load(out)["images"]} == {"0000", "0002", "b", "e"}
    assert json.loads((out / "failures.json").read_text()) == failures
    found = {entry["source"]: entry["problem"] for entry in failures}
    assert set(found) == {
        str(images / "0001.bmp"),
        f"{flipped}#0",
        f"{flipped}#2",
        f"{flipped}#3",
        str(cut),
        str(text),
    }
    assert "is damaged" in found[f"{flipped}#0"]
    assert "cut off" in found[str(cut)]
    assert "not a TFRecord file" in found[str(text)]


@pytest.mark.usefixtures("handled")
def test_images_of_one_name_have_results_of_their_own(write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 1)
    Image.open(images / "0000.bmp").save(images / "0000.png")
    out = tmp_path / "out"
    count, failures = _run([images], out)
    assert (count, failures) == (2, [])
    assert len(list(out.glob("*.panoptic.png"))) == 2


@pytest.mark.usefixtures("handled")
def test_ids_can_be_those_of_the_ground_truth(write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 3)
    ids = {"0000.bmp": 7, "0001.bmp": 9}
    out = tmp_path / "out"
    count, failures = _run([images], out, image_ids=ids)
    assert [i["id"] for i in _load(out)["images"]] == [7, 9]
    assert (count, len(failures)) == (2, 1)
    assert "0002.bmp is not among" in failures[0]["problem"]


@pytest.mark.usefixtures("handled")
def test_files_of_others_and_of_other_models_are_kept(
    write_boxes, tmp_path, fake_models, monkeypatch, handled
):
    images = write_boxes(tmp_path / "images", 2)
    out = tmp_path / "out"
    out.mkdir()
    (out / "panoptic.json").write_text("somebody's")
    with pytest.raises(errors.DataError, match="did not write"):
        _run([images], out)
    assert (out / "panoptic.json").read_text() == "somebody's"
    _run([images], out, overwrite=True)
    with pytest.raises(errors.DataError, match="another --exif"):
        _run([images], out, upright=False)
    fake_models.install(handled, monkeypatch.setattr, fingerprint="two")
    with pytest.raises(errors.DataError, match="of another model"):
        _run([images], out)
    assert len(_load(out)["images"]) == 2


def test_the_program_passes_on_the_options_of_beam(write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 2)
    here = pathlib.Path(__file__).resolve().parent
    code = (
        "import sys\n"
        "sys.path.insert(0, sys.argv.pop(1))\n"
        "import fake_model\n"
        "fake_model.install(fake_model.FakeModel())\n"
        "from deeplab2_like.predict import beam_handler, beam_main\n"
        "beam_handler.PanopticModelHandler.load_model = (\n"
        "    lambda _: fake_model.FakeModel())\n"
        "beam_main.cli()\n"
    )
    command = ["--model=m", f"{images}/*.bmp", "--out=out", "--num_shards=2"]
    done = subprocess.run(
        [sys.executable, "-c", code, here, *command, "--", *_DIRECT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(here.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "2 image(s) predicted by m" in done.stderr
    assert len(_load(tmp_path / "out")["images"]) == 2
    command[3] = "--num_shards=1"
    done = subprocess.run(
        [sys.executable, "-c", code, here, *command, "--", "--runner=None"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(here.parents[1])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode in (2, 3)
    assert "Traceback" not in done.stderr


@pytest.mark.usefixtures("fake")
def test_inputs_that_are_not_there_are_one_sentence(tmp_path):
    for name in ("nothing.jpg", "no*.jpg", "none/*.jpg"):
        with pytest.raises(errors.DataError, match="matches no file"):
            _run([tmp_path / name], tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("handled")
def test_inputs_without_an_image_are_one_sentence(tmp_path):
    (tmp_path / "a.jpg").write_text("no image")
    with pytest.raises(errors.DataError, match="is not an image"):
        _run([tmp_path / "a.jpg"], tmp_path / "out")
    (tmp_path / "none").mkdir()
    (tmp_path / "none/a.txt").write_text("no image")
    with pytest.raises(errors.DataError, match="hold no image"):
        _run([tmp_path / "none"], tmp_path / "out2")
