# SPDX-License-Identifier: Apache-2.0
"""Stacks of slices become label volumes."""

import dataclasses
import json

import numpy as np
import pytest

from deeplab2_like import errors, predict
from deeplab2_like.labels import masks
from deeplab2_like.predict import journal, stack_pixels

pytest.importorskip("scipy", reason="SciPy is not installed (extra tracking)")
tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra stacks)"
)
zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra stacks)"
)

_LINK = predict.PredictOptions(link=True)
_THREE = dataclasses.replace(_LINK, consensus=True)
_SHAPE = (12, 20, 24)


def _draw():
    """A bright ball in a dark volume."""
    z, y, x = np.indices(_SHAPE)
    ball = (z - 6) ** 2 + (y - 9) ** 2 + (x - 13) ** 2 <= 25
    return np.where(ball, 220, 30).astype(np.uint8)


def _write_tiff(folder, values):
    path = folder / "cells.tif"
    tifffile.imwrite(path, values, photometric="minisblack")
    return path


def _write_zarr(folder, values):
    path = folder / "cells.zarr"
    array = zarr.create_array(
        store=str(path), shape=values.shape, dtype=values.dtype
    )
    array[:] = values
    return path


def _read(path):
    if path.suffix == ".tif":
        return tifffile.imread(path)
    return zarr.open(str(path), mode="r")[:]


def _check(volume, tracks, values):
    """Checks the labels and the tracks of the ball and the background."""
    assert volume.dtype == np.uint32
    assert volume.shape == values.shape
    (background,) = np.unique(volume[values == 30])
    (ball,) = np.unique(volume[values == 220])
    assert background != ball
    by_id = {a["id"]: a for a in tracks["annotations"]}
    assert set(by_id) == {background, ball}
    assert (by_id[ball]["category_id"], by_id[ball]["isthing"]) == (6, 1)
    for number, annotation in by_id.items():
        found = np.zeros(values.shape, bool)
        for frame, runs in zip(
            annotation["frames"], annotation["segmentations"], strict=True
        ):
            counts = masks.read_compressed_counts(runs["counts"])
            found[frame] = masks.fill_runs(counts, runs["size"]).to_array(
                runs["size"]
            )
        np.testing.assert_array_equal(found, volume == number)


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("options", [_LINK, _THREE])
@pytest.mark.parametrize("write", [_write_tiff, _write_zarr])
def test_a_stack_becomes_a_label_volume(tmp_path, write, options):
    path = write(tmp_path, _draw())
    out = tmp_path / "out"
    result = predict.predict_files("model", [path], out, options=options)
    assert result.volumes == [f"cells.labels{path.suffix}"]
    assert result.tracks == ["cells.tracks.json"]
    _check(
        _read(out / result.volumes[0]),
        json.loads((out / "cells.tracks.json").read_text()),
        _draw(),
    )
    assert sorted(p.name for p in out.iterdir()) == sorted(
        ["progress.jsonl", *result.volumes, *result.tracks]
    )
    again = predict.predict_files("model", [path], out, options=options)
    assert again.volumes == result.volumes


@pytest.mark.parametrize("options", [_LINK, _THREE])
def test_an_interrupted_stack_goes_on_where_it_was(fake, tmp_path, options):
    path = _write_tiff(tmp_path, _draw())
    predict.predict_files("model", [path], tmp_path / "1", options=options)
    count = fake.calls
    assert count == (sum(_SHAPE) if options.consensus else _SHAPE[0])
    fake.stop_at = count + 9
    out = tmp_path / "2"
    with pytest.raises(KeyboardInterrupt):
        predict.predict_files("model", [path], out, options=options)
    assert not list(out.glob("cells.*"))
    predict.predict_files("model", [path], out, options=options)
    assert fake.calls == 2 * count + 1
    for name in ("cells.labels.tif", "cells.tracks.json"):
        assert (out / name).read_bytes() == (tmp_path / "1" / name).read_bytes()
    names = [sorted(p.name for p in (tmp_path / n).iterdir()) for n in "12"]
    assert names[0] == names[1]


@pytest.mark.usefixtures("fake")
@pytest.mark.parametrize("options", [_LINK, _THREE])
def test_nothing_temporary_remains_of_a_run_killed_at_its_end(
    tmp_path, monkeypatch, options
):
    path = _write_tiff(tmp_path, _draw())
    out = tmp_path / "out"
    complete = journal.Journal.complete

    def stop(self, name, *arguments):
        complete(self, name, *arguments)
        if name == "cells":
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(journal.Journal, "complete", stop)
        with pytest.raises(KeyboardInterrupt):
            predict.predict_files("model", [path], out, options=options)
    assert (out / ".cells.slices").exists()
    result = predict.predict_files("model", [path], out, options=options)
    assert sorted(p.name for p in out.iterdir()) == sorted(
        ["progress.jsonl", *result.volumes, *result.tracks]
    )


@pytest.mark.usefixtures("fake")
def test_stacks_may_have_three_colors(tmp_path):
    path = tmp_path / "cells.tif"
    colors = np.stack(3 * [_draw()], axis=-1)
    tifffile.imwrite(path, colors, photometric="rgb")
    for name, options in (("1", _LINK), ("3", _THREE)):
        out = tmp_path / name
        predict.predict_files("model", [path], out, options=options)
        tracks = json.loads((out / "cells.tracks.json").read_text())
        _check(_read(out / "cells.labels.tif"), tracks, _draw())


@pytest.mark.usefixtures("fake")
def test_rows_of_planes_are_in_one_piece_in_their_file(tmp_path, monkeypatch):
    path = _write_tiff(tmp_path, _draw())
    load = stack_pixels.load_plane
    strides = set()

    def note(planes, number):
        strides.add(planes.strides[2])
        return load(planes, number)

    monkeypatch.setattr(stack_pixels, "load_plane", note)
    predict.predict_files("model", [path], tmp_path / "out", options=_THREE)
    assert strides == {1}


def test_too_large_slices_are_refused_before_values_are_read(
    fake, fake_models, tmp_path, capsys, monkeypatch
):
    path = _write_tiff(tmp_path, _draw().astype(np.uint16))
    fake.max_pixels = _SHAPE[1] * _SHAPE[2] - 1
    fake_models.install(fake, monkeypatch.setattr)
    with pytest.raises(errors.DataError, match="have up to 480 pixels"):
        predict.predict_files("model", [path], tmp_path / "out", options=_LINK)
    assert "become 0..255" not in capsys.readouterr().err


@pytest.mark.parametrize("options", [_LINK, _THREE])
def test_stacks_may_have_more_tracks_than_label_maps_number(
    fake, tmp_path, options
):
    fake.descriptor = dataclasses.replace(fake.descriptor, label_divisor=2)
    values = np.full((12, 20, 24), 30, np.uint8)
    for corner in range(3):  # Far apart, one after the other.
        values[4 * corner : 4 * corner + 4, :4, 9 * corner :][..., :4] = 220
    path = _write_tiff(tmp_path, values)
    out = tmp_path / "out"
    options = dataclasses.replace(
        options, raw_panoptic_format="three_channel_png"
    )
    result = predict.predict_files("model", [path], out, options=options)
    assert result.problems == []
    labels = _read(out / "cells.labels.tif")
    assert len(np.unique(labels[values == 220])) == 3


@pytest.mark.usefixtures("fake")
def test_values_of_16_bits_are_taken_from_their_range(tmp_path, capsys):
    values = _draw().astype(np.uint16) * 20 + 1000
    path = _write_tiff(tmp_path, values)
    predict.predict_files("model", [path], tmp_path / "1", options=_LINK)
    assert "values 1600..5400 become 0..255" in capsys.readouterr().err
    ours = _read(tmp_path / "1/cells.labels.tif")
    assert len(np.unique(ours)) == 2
    options = dataclasses.replace(_LINK, value_range=(6000.0, 9000.0))
    predict.predict_files("model", [path], tmp_path / "2", options=options)
    assert len(np.unique(_read(tmp_path / "2/cells.labels.tif"))) == 1


@pytest.mark.usefixtures("fake")
def test_a_damaged_slice_is_named_and_left_void(tmp_path):
    path = _write_zarr(tmp_path, _draw())
    chunk = tmp_path / "cut.zarr"
    array = zarr.create_array(
        store=str(chunk), shape=_SHAPE, dtype="uint8", chunks=(1, *_SHAPE[1:])
    )
    array[:] = _draw()
    (chunk / "c/5/0/0").write_bytes(b"no chunk")
    out = tmp_path / "out"
    result = predict.predict_files("model", [chunk], out, options=_LINK)
    (problem,) = result.problems
    assert "slice 5: it cannot be decoded" in problem
    labels = _read(out / "cut.labels.zarr")
    assert not labels[5].any()
    assert labels[4].any()
    assert len(np.unique(labels[labels > 0])) == 2
    assert path.exists()


@pytest.mark.usefixtures("fake")
def test_without_link_a_zarr_folder_is_refused(tmp_path):
    path = _write_zarr(tmp_path, _draw())
    with pytest.raises(errors.DataError, match="Give --link"):
        predict.predict_files("model", [path], tmp_path / "out")


@pytest.mark.usefixtures("fake")
def test_label_volumes_of_others_are_never_replaced(tmp_path):
    path = _write_tiff(tmp_path, _draw())
    other = tmp_path / "out/cells.labels.tif"
    other.parent.mkdir()
    other.write_text("somebody's")
    with pytest.raises(errors.DataError, match=r"labels\.tif exists"):
        predict.predict_files("model", [path], other.parent, options=_LINK)
    assert other.read_text() == "somebody's"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"consensus": True}, "Give --link too"),
        ({"consensus_iou": 0.0}, "--consensus_iou=0.0 must be above 0"),
        ({"value_range": (5.0, 5.0)}, "the lower one first"),
    ],
)
def test_wrong_options_are_one_sentence(values, message):
    with pytest.raises(errors.ConfigError, match=message):
        predict.PredictOptions(**values)
