# SPDX-License-Identifier: Apache-2.0
"""Files that are predicted in tiles: results, what is kept, what is refused."""

import json

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors, predict
from deeplab2_like.large_images import parts, work_folder
from deeplab2_like.predict import files, models
from deeplab2_like.storage import whole_files

_OPTIONS = predict.PredictOptions(
    tile=65, overlap="32", large_outputs=("labels", "table", "geojson")
)


@pytest.fixture(name="run")
def _run(predictor, monkeypatch, quiet_report, tmp_path):
    pytest.importorskip("tifffile")
    facts = models.Facts("model", predictor.descriptor, 1000)
    identity = {"path": "model", "fingerprint": "one"}
    monkeypatch.setattr(models, "load_facts", lambda _: facts)
    monkeypatch.setattr(models, "identify", lambda _: identity)
    monkeypatch.setattr(models, "load", lambda *_: predictor)

    def run(*inputs, options=_OPTIONS, **more):
        return predict.predict_files(
            "model",
            [tmp_path / name for name in inputs],
            tmp_path / "out",
            options=options,
            report=quiet_report,
            **more,
        )

    return run


def _read_labels(path):
    import tifffile

    return tifffile.imread(path)


def test_files_are_written_and_kept(run, write_image, tmp_path, monkeypatch):
    """Beyond the limit of pixels of the model; and nothing else is left."""
    write_image(tmp_path / "a.png", 1, (90, 140))
    done = run("a.png")
    assert done.large == ["a.labels.tif", "a.segments.json", "a.geojson"]
    assert not done.problems
    out = tmp_path / "out"
    names = {path.name for path in out.iterdir()}
    assert names == {*done.large, "progress.jsonl"}
    labels = _read_labels(out / "a.labels.tif")
    assert labels.shape == (90, 140)
    assert labels.dtype == np.uint32
    segments = json.loads((out / "a.segments.json").read_text())["segments"]
    assert len(segments) == labels.max()
    with monkeypatch.context() as patch:
        patch.setattr(work_folder, "WorkFolder", None)
        assert run("a.png").large == done.large


def test_a_kill_while_files_are_written_is_gone_on_from(
    run, write_image, tmp_path, monkeypatch
):
    write_image(tmp_path / "a.png", 1, (90, 140))

    class Killed(BaseException):
        pass

    open_whole = whole_files.open_whole

    def kill(path, *arguments):
        if str(path).endswith(".segments.json"):
            raise Killed
        return open_whole(path, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(whole_files, "open_whole", kill)
        with pytest.raises(Killed):
            run("a.png")
    assert (tmp_path / "out/.a.tiles/segments.npz").exists()
    done = run("a.png")
    assert not (tmp_path / "out/.a.tiles").exists()
    assert len(done.large) == 3


def test_work_files_of_a_program_that_runs_are_not_deleted(
    run, write_image, tmp_path, monkeypatch
):
    """As by one with --overwrite, which begins while another one predicts."""
    write_image(tmp_path / "a.png", 1, (90, 140))
    write_tile = work_folder.WorkFolder.write_tile
    refused = []

    def start_another(folder, index, maps):
        write_tile(folder, index, maps)
        if not refused:
            with pytest.raises(errors.ConfigError, match="Another program"):
                run("a.png", overwrite=True)
            refused.append(folder.has_tile(index))

    with monkeypatch.context() as patch:
        patch.setattr(work_folder.WorkFolder, "write_tile", start_another)
        assert len(run("a.png").large) == 3
    assert refused == [True]


def test_parts_of_tiles_are_joined_to_the_same_files(
    run, write_image, tmp_path, quiet_report
):
    write_image(tmp_path / "a.png", 1, (90, 140))
    done = run("a.png")
    out, alone = tmp_path / "out", tmp_path / "alone"
    out.rename(alone)

    def predict_part(number):
        return files.predict_part(
            "model",
            [tmp_path / "a.png", tmp_path / "b.png"],
            out,
            parts.Part(number, 2),
            _OPTIONS,
            report=quiet_report,
        )

    (tmp_path / "b.png").write_bytes(b"no image")
    for number in (1, 2):
        assert ["b.png" in problem for problem in predict_part(number)] == [
            True
        ]
    assert {path.name for path in out.iterdir()} == {
        ".a.tiles.1of2",
        ".a.tiles.2of2",
    }
    assert run("a.png").large == done.large
    for name in done.large:
        assert (out / name).read_bytes() == (alone / name).read_bytes()
    predict_part(1)  # Too late: nothing is left to do.
    assert {path.name for path in out.iterdir()} == {
        *done.large,
        "progress.jsonl",
    }


@pytest.mark.usefixtures("run")
def test_a_part_needs_tiles(write_image, tmp_path):
    write_image(tmp_path / "a.png", 1, (90, 140))
    with pytest.raises(errors.ConfigError, match="Give --tile too"):
        files.predict_part(
            "model",
            [tmp_path / "a.png"],
            tmp_path / "out",
            parts.Part(1, 2),
            predict.PredictOptions(),
        )
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_read_is_named(run, write_image, tmp_path):
    write_image(tmp_path / "a.png", 1, (70, 80))
    (tmp_path / "b.png").write_bytes(b"no image")
    done = run("a.png", "b.png")
    assert len(done.large) == 3
    assert len(done.problems) == 1
    assert "b.png" in done.problems[0]


def test_damaged_tiles_of_a_file_are_void(run, make_image, tmp_path):
    import tifffile

    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path,
        make_image(2, (96, 128)),
        tile=(32, 32),
        compression="zlib",
        photometric="rgb",
    )
    with tifffile.TiffFile(path) as file:
        start = file.pages[0].dataoffsets[5]  # Row 1, column 1.
    data = bytearray(path.read_bytes())
    data[start : start + 8] = b"\xff" * 8
    path.write_bytes(data)
    done = run("a.tif")
    labels = _read_labels(tmp_path / "out/a.labels.tif")
    assert not labels[32:64, 32:64].any()
    assert labels.any()
    assert "cannot be decoded and are left void" in done.problems[0]
    failures = json.loads((tmp_path / "out/failures.json").read_text())
    assert failures[0]["source"] == str(path)
    assert run("a.tif").problems == done.problems


def test_results_of_others_are_not_replaced(run, write_image, tmp_path):
    write_image(tmp_path / "a.png", 1, (70, 80))
    (tmp_path / "out").mkdir()
    (tmp_path / "out/a.geojson").write_text("mine")
    with pytest.raises(errors.DataError, match="exists"):
        run("a.png")
    assert (tmp_path / "out/a.geojson").read_text() == "mine"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "--tile=0"),
        ({"tile": 65, "overlap": "much"}, "--overlap=much"),
        ({"tile": 65, "overlap": "65"}, "--overlap=65"),
        ({"tile": 65, "large_outputs": ("maps",)}, "--large_outputs=maps"),
        ({"tile": 65, "channels": (1, 2)}, "--channels=1,2"),
        ({"tile": 65, "link": True}, "--tile predicts single images"),
        (
            {"tile": 65, "raw_panoptic_format": "two_channel_png"},
            "--raw_panoptic_format",
        ),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        predict.PredictOptions(**options)


def test_only_images_are_cut_into_tiles(run, write_image, tmp_path):
    write_image(tmp_path / "a.png", 1, (70, 80))
    (tmp_path / "b.tfrecord").touch()
    with pytest.raises(errors.DataError, match="not in tiles"):
        run("a.png", "b.tfrecord")
    with pytest.raises(errors.ConfigError, match="--image_json"):
        run("a.png", image_ids={"a.png": 1})
    Image.new("RGB", (70, 70)).save(tmp_path / "c.png")
    with pytest.raises(errors.ConfigError, match="take 49 or 65"):
        run("c.png", options=predict.PredictOptions(tile=64))
