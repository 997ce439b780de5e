# SPDX-License-Identifier: Apache-2.0
"""Records written by Apache Beam; `make test-beam` runs these tests."""

import importlib.util
import pathlib
import subprocess
import sys

import pytest

from deeplab2_like import errors
from deeplab2_like.recipes import forms, preparing
from deeplab2_like.recipes.published import preparing as published
from deeplab2_like.recipes.published.items import Request

pytest.importorskip(
    "apache_beam", reason="Apache Beam is not installed (make test-beam)"
)

_DIRECT = ["--runner=DirectRunner"]
_HERE = pathlib.Path(__file__).resolve().parent


@pytest.fixture(scope="session")
def miniatures():
    """Returns the module that writes miniatures of published data sets."""
    file = _HERE / "published" / "miniatures.py"
    spec = importlib.util.spec_from_file_location("miniatures", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def city(miniatures, tmp_path):
    root = tmp_path / "cityscapes"
    miniatures.write_cityscapes(root, {"ulm": 5}, "val")
    return root


def _request(root, out):
    return Request("cityscapes", root, out, ["val"], num_shards=3)


def _writer():
    from deeplab2_like.recipes import beam_shards

    return beam_shards.BeamWriter(_DIRECT)


def _read(folder):
    """Returns the files by name, without times of modification."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "class_pixels.json"
    }


def _read_all(folder):
    """The same, and whether counts of pixels are there."""
    assert [*folder.rglob("class_pixels.json")]
    return _read(folder)


def test_a_published_set_is_the_same_byte_by_byte(city, tmp_path):
    text = published.prepare(
        _request(city, tmp_path / "beam"), write_missing=_writer()
    )
    published.prepare(_request(city, tmp_path / "here"))
    assert _read_all(tmp_path / "beam") == _read_all(tmp_path / "here")
    assert "val-00002-of-00003.tfrecord" in _read(tmp_path / "beam")
    assert "5 images in 3 files" in "\n".join(text)
    again = published.prepare(
        _request(city, tmp_path / "here"), write_missing=_writer()
    )
    assert "is complete already" in "\n".join(again)


@pytest.mark.parametrize("kind", ["photos", "scenes"])
def test_own_data_are_the_same_byte_by_byte(kind, request, tmp_path):
    from deeplab2_like.recipes import beam_own_data

    data = request.getfixturevalue(kind)
    lines = beam_own_data.prepare(
        forms.Request(data), tmp_path / "beam", _writer()
    )
    preparing.write(forms.Request(data), tmp_path / "here")
    assert _read_all(tmp_path / "beam") == _read_all(tmp_path / "here")
    assert f'dataset: "{tmp_path}/beam/dataset.textproto"' in "\n".join(lines)
    with pytest.raises(errors.ConfigError, match="--overwrite"):
        beam_own_data.prepare(forms.Request(data), tmp_path / "beam", _writer())
    beam_own_data.prepare(
        forms.Request(data), tmp_path / "beam", _writer(), overwrite=True
    )
    assert _read_all(tmp_path / "beam") == _read_all(tmp_path / "here")


def test_what_a_pipeline_that_failed_has_written_is_kept(
    city, tmp_path, monkeypatch
):
    from deeplab2_like.recipes import beam_shards

    plain = beam_shards.write_task

    def fail(file):
        if "00002-of" in file:
            raise OSError("The worker is gone.")
        plain(file)

    out = tmp_path / "beam"
    with monkeypatch.context() as patch:
        patch.setattr(beam_shards, "write_task", fail)
        with pytest.raises(errors.DataError, match="goes on where it was"):
            published.prepare(_request(city, out), write_missing=_writer())
    assert not [*out.glob("*.tfrecord")]
    # Another worker may have left a part of a shard.
    (out / ".val.partial" / ".val-00001.123.partial").write_bytes(b"half")
    published.prepare(_request(city, out), write_missing=_writer())
    published.prepare(_request(city, tmp_path / "here"))
    assert _read_all(out) == _read_all(tmp_path / "here")


def test_an_attempt_may_run_twice(city, tmp_path, monkeypatch):
    from deeplab2_like.recipes import beam_shards

    plain = beam_shards.write_task

    def repeat(file):
        plain(file)
        path = pathlib.Path(file.removesuffix(".task"))
        first = path.read_bytes()
        path.with_name(f"{path.name}.json").unlink()  # It was not noted.
        plain(file)
        assert path.read_bytes() == first
        plain(file)

    monkeypatch.setattr(beam_shards, "write_task", repeat)
    published.prepare(
        _request(city, tmp_path / "beam"), write_missing=_writer()
    )
    published.prepare(_request(city, tmp_path / "here"))
    assert _read_all(tmp_path / "beam") == _read_all(tmp_path / "here")


def test_images_that_cannot_be_used_are_listed_and_nothing_appears(
    city, tmp_path
):
    found = sorted(city.rglob("*_instanceIds.png"))
    for path in (found[0], found[4]):
        path.write_bytes(b"no image")
    with pytest.raises(errors.DataError) as caught:
        published.prepare(
            _request(city, tmp_path / "beam"), write_missing=_writer()
        )
    with pytest.raises(errors.DataError) as expected:
        published.prepare(_request(city, tmp_path / "here"))
    assert str(caught.value) == str(expected.value)
    assert not [*(tmp_path / "beam").glob("*.tfrecord")]


def test_the_program_passes_on_the_options_of_beam(city, tmp_path):
    def run(*arguments):
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "deeplab2_like.recipes.beam_main",
                *arguments,
            ],
            cwd=tmp_path,
            env={"PYTHONPATH": str(_HERE.parents[1])},
            capture_output=True,
            text=True,
            check=False,
        )

    command = ["cityscapes", f"--root={city}", "--split=val", "--out=out"]
    done = run(*command, "--num_shards=2", "--", *_DIRECT)
    assert done.returncode == 0, done.stderr
    assert 'dataset: "cityscapes_panoptic"' in done.stdout
    assert len([*(tmp_path / "out").glob("val-*-of-00002.tfrecord")]) == 2
    for arguments, message in (
        (
            [*command[:3], "--out=new", "--", "--runner=NoRunner"],
            "Beam cannot use",
        ),
        ([*command[:3], "--out=gs://b/new"], "is an address (--out)"),
        (["a", "b", "--out=new"], "Give the name of one published data set"),
        (["nowhere", "--out=new"], "nowhere"),
    ):
        done = run(*arguments)
        assert done.returncode in (2, 3), done.stderr
        assert message in done.stderr
        assert "Traceback" not in done.stderr
