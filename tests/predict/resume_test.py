# SPDX-License-Identifier: Apache-2.0
"""What happens to results that are there already."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.predict import models

_HERE = pathlib.Path(__file__).resolve().parent
_PROGRAM = """
import os, signal, sys
sys.path.insert(0, sys.argv[1])
import fake_model
from deeplab2_like import predict
model = fake_model.FakeModel()
model.stop = lambda: os.kill(os.getpid(), signal.SIGKILL)
model.stop_at = int(sys.argv[2])
fake_model.install(model)
predict.predict_files("model", [sys.argv[3]], sys.argv[4])
"""


def _read_all(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_killed_prediction_goes_on_where_it_was(fake, write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 6)
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM, _HERE, "4", images, out],
        cwd=_HERE.parents[1],
        capture_output=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (out / "panoptic.json").exists()
    result = predict.predict_files("model", [images], out)
    assert fake.calls == 3
    assert (result.num_images, result.num_kept) == (6, 3)
    predict.predict_files("model", [images], tmp_path / "at_once")
    found, expected = _read_all(out), _read_all(tmp_path / "at_once")
    assert found.keys() == expected.keys()
    for name in expected.keys() - {"progress.jsonl"}:
        assert found[name] == expected[name], name


@pytest.mark.usefixtures("fake")
def test_a_line_that_was_cut_off_is_written_again(write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 3)
    out = tmp_path / "out"
    predict.predict_files("model", [images], out)
    before = _read_all(out)
    journal = out / "progress.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    result = predict.predict_files("model", [images], out)
    assert result.num_kept == 2
    assert _read_all(out) == before


def test_a_result_that_is_missing_is_predicted_again(
    fake, write_boxes, tmp_path
):
    images = write_boxes(tmp_path / "images", 3)
    out = tmp_path / "out"
    predict.predict_files("model", [images], out)
    (out / "0001.overlay.png").unlink()
    (out / "0002.panoptic.png").write_bytes(b"")
    result = predict.predict_files("model", [images], out)
    assert (fake.calls, result.num_kept) == (5, 1)
    assert Image.open(out / "0001.overlay.png").height > 0


def test_an_image_that_changed_is_predicted_again(fake, write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 3)
    out = tmp_path / "out"
    predict.predict_files("model", [images], out)
    os.utime(images / "0001.bmp", ns=(1, 1))
    result = predict.predict_files("model", [images], out)
    assert (fake.calls, result.num_kept) == (4, 2)


def test_an_interrupt_lists_what_is_behind_it_too(fake, write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 4)
    out = tmp_path / "out"
    predict.predict_files("model", [images], out)
    os.utime(images / "0001.bmp", ns=(1, 1))
    fake.stop_at = 5
    with pytest.raises(KeyboardInterrupt):
        predict.predict_files("model", [images], out)
    content = json.loads((out / "panoptic.json").read_text())
    assert [image["id"] for image in content["images"]] == [0, 2, 3]


@pytest.mark.usefixtures("fake")
def test_results_of_another_model_or_other_options_are_refused(
    write_boxes, tmp_path, fake_models, monkeypatch
):
    images = write_boxes(tmp_path / "images", 2)
    out = tmp_path / "out"
    predict.predict_files("model", [images], out)
    before = _read_all(out)
    with pytest.raises(errors.DataError, match=r"--exif=apply.* it is ignore"):
        predict.predict_files(
            "model",
            [images],
            out,
            options=predict.PredictOptions(exif="ignore"),
        )
    other = fake_models.FakeModel()
    fake_models.install(other, monkeypatch.setattr, fingerprint="two")
    with pytest.raises(errors.DataError, match="before that model changed"):
        predict.predict_files("model", [images], out)
    assert _read_all(out) == before
    predict.predict_files("model", [images], out, overwrite=True)
    assert other.calls == 2
    # What overwrites goes on without being told again.
    (out / "0001.overlay.png").unlink()
    predict.predict_files("model", [images], out)
    assert other.calls == 3


def test_a_killed_overwriting_goes_on(fake, write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 4)
    out = tmp_path / "out"
    out.mkdir()
    (out / "0003.overlay.png").write_text("somebody's")
    fake.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        predict.predict_files("model", [images], out, overwrite=True)
    result = predict.predict_files("model", [images], out)
    assert (fake.calls, result.num_kept) == (5, 2)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize(
    "name", ["0001.overlay.png", "0000.panoptic.png", "panoptic.json"]
)
def test_files_of_others_are_never_replaced(write_boxes, tmp_path, name):
    images = write_boxes(tmp_path / "images", 2)
    out = tmp_path / "out"
    out.mkdir()
    (out / name).write_text("somebody's")
    with pytest.raises(errors.DataError, match=f"{name} exists, and .*--overw"):
        predict.predict_files("model", [images], out)
    assert _read_all(out) == {name: b"somebody's"}
    predict.predict_files("model", [images], out, overwrite=True)
    assert len(_read_all(out)) == 6


@pytest.mark.usefixtures("fake")
def test_a_result_that_was_changed_is_not_replaced(write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 2)
    out = tmp_path / "out"
    predict.predict_files("model", [images], out)
    (out / "0001.overlay.png").write_text("painted over")
    with pytest.raises(errors.DataError, match=r"0001\.overlay\.png was chang"):
        predict.predict_files("model", [images], out)


def test_results_of_several_calls_stay_while_names_differ(
    fake, write_boxes, tmp_path
):
    north = write_boxes(tmp_path / "north", 2)
    south = write_boxes(tmp_path / "south", 2)
    out = tmp_path / "out"
    predict.predict_files("model", [north / "0000.bmp"], out)
    result = predict.predict_files("model", [north], out)
    assert (fake.calls, result.num_kept) == (2, 1)
    before = _read_all(out)
    with pytest.raises(errors.DataError, match=r"those of .*north/0000\.bmp"):
        predict.predict_files("model", [south], out)
    assert _read_all(out) == before


@pytest.mark.usefixtures("fake")
def test_a_damaged_journal_is_one_sentence(write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 2)
    out = tmp_path / "out"
    predict.predict_files("model", [images], out)
    journal = out / "progress.jsonl"
    lines = journal.read_bytes().splitlines(keepends=True)
    for damaged in (b"\0\0\0\n", b"[]\n", b'{"name": 3}\n', b"\xff\n"):
        for number in (0, 2):
            changed = [*lines]
            changed[number] = damaged
            journal.write_bytes(b"".join(changed))
            with pytest.raises(errors.DataError, match=f"Line {number + 1} of"):
                predict.predict_files("model", [images], out)


def test_two_programs_do_not_write_to_one_folder(fake, write_boxes, tmp_path):
    images = write_boxes(tmp_path / "images", 3)
    out = tmp_path / "out"
    fake.stop_at = 2

    def start_another():
        fake.stop_at = None
        with pytest.raises(errors.ConfigError, match="Another program"):
            predict.predict_files("model", [images], out)

    fake.stop = start_another
    assert predict.predict_files("model", [images], out).num_images == 3


@pytest.mark.usefixtures("fake")
def test_what_another_program_wrote_in_the_meantime_is_kept(
    write_boxes, tmp_path, monkeypatch
):
    images, out = tmp_path / "images", tmp_path / "out"
    write_boxes(images, 2)
    predict.predict_files("model", [images], out)
    write_boxes(images, 4)
    fake_load, begun = models.load, []

    def load(*arguments):
        if not begun:
            begun.append(True)
            predict.predict_files("model", [images], out)
        return fake_load(*arguments)

    monkeypatch.setattr(models, "load", load)
    with pytest.raises(errors.ConfigError, match="since this one began"):
        predict.predict_files("model", [images], out)
    content = json.loads((out / "panoptic.json").read_text())
    assert len(content["images"]) == 4
    assert predict.predict_files("model", [images], out).num_kept == 4


@pytest.mark.usefixtures("fake")
def test_failures_are_listed_in_a_file_until_they_are_gone(
    write_boxes, tmp_path
):
    images = write_boxes(tmp_path / "images", 3)
    good = (images / "0001.bmp").read_bytes()
    (images / "0001.bmp").write_bytes(good[:100])
    out = tmp_path / "out"
    result = predict.predict_files("model", [images], out)
    assert result.num_images == 2
    (failure,) = json.loads((out / "failures.json").read_text())
    assert failure["source"] == str(images / "0001.bmp")
    assert failure["problem"] == result.problems[0]
    (images / "0001.bmp").write_bytes(good)
    result = predict.predict_files("model", [images], out)
    assert (result.num_images, result.problems) == (3, [])
    assert not (out / "failures.json").exists()
    content = json.loads((out / "panoptic.json").read_text())
    assert [image["id"] for image in content["images"]] == [0, 1, 2]


@pytest.mark.parametrize("count", [0, 1])
def test_nothing_is_loaded_when_all_is_done(
    fake, write_boxes, tmp_path, monkeypatch, count
):
    images = write_boxes(tmp_path / "images", 2)
    out = tmp_path / "out"
    predict.predict_files("model", [images], out)
    calls = []
    monkeypatch.setattr(
        "deeplab2_like.predict.models.load",
        lambda *_: calls.append(1) or fake,
    )
    if count:
        (out / "0001.overlay.png").unlink()
    result = predict.predict_files("model", [images], out)
    assert len(calls) == count
    assert result.num_kept == 2 - count
