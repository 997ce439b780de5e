# SPDX-License-Identifier: Apache-2.0
"""Shards are written completely, once, and again where they were damaged."""

import fcntl
import json
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest

from deeplab2_like import errors
from deeplab2_like.data.records import writer
from deeplab2_like.recipes.published import pool, shards

_ROOT = pathlib.Path(__file__).resolve().parents[3]


@pytest.fixture
def city(miniatures, tmp_path):
    root = tmp_path / "cityscapes"
    miniatures.write_cityscapes(root, {"ulm": 9}, "val")
    return root


def read_all(folder):
    paths = sorted(folder.glob("*.tfrecord"))
    return {path.name: path.read_bytes() for path in paths}


@pytest.fixture
def write(prepare, city, tmp_path):
    """Returns a function that writes the split to a folder."""

    def run(out="out", **options):
        options = {"splits": ["val"], "num_shards": 4} | options
        text = prepare("cityscapes", city, tmp_path / out, **options)
        return text, read_all(tmp_path / out)

    return run


def test_the_manifest_has_counts_and_checksums(write, tmp_path):
    _, files = write()
    out = tmp_path / "out"
    assert sorted(path.name for path in out.iterdir()) == sorted(
        [*files, "MANIFEST.sha256", "class_pixels.json", "manifest.json"]
    )
    assert not writer.find_manifest_problems(str(out))
    content = json.loads((out / "manifest.json").read_text())
    assert content["data_set"] == "cityscapes"
    assert content["dataset"] == "cityscapes_panoptic"
    split = content["splits"]["val"]
    assert split["images"] == 9
    assert split["crowds"] == 9 * 3  # Persons, cars and bicycles.
    assert split["instances"]["person"] == 9 * 3
    assert split["void_pixels"] > 0
    pixels = sum(split["pixels"].values()) + split["void_pixels"]
    assert pixels == 9 * 16 * 32
    shards_of_split = split["shards"]
    assert [one["images"] for one in shards_of_split.values()] == [3, 2, 2, 2]
    digests = writer.read_manifest(str(out))
    for name, one in shards_of_split.items():
        assert one["sha256"] == digests[name]
        assert one["bytes"] == len(files[name])


def test_a_complete_split_is_checked_and_not_written_again(write, tmp_path):
    _, files = write()
    times = {
        path: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()
    }
    text, again = write()
    assert "complete already" in text
    assert again == files
    assert times == {path: path.stat().st_mtime_ns for path in times}


def test_a_damaged_shard_is_named(write, tmp_path):
    _, files = write()
    path = tmp_path / "out" / "val-00002-of-00004.tfrecord"
    content = bytearray(path.read_bytes())
    content[50] ^= 1
    path.write_bytes(content)
    with pytest.raises(errors.DataError, match=r"val-00002.*differs from"):
        write()
    text, again = write(overwrite=True)
    assert "9 images in 4 files" in text
    assert again == files
    path.unlink()
    with pytest.raises(errors.DataError, match=r"val-00002.* is missing"):
        write()


def test_other_records_are_not_replaced(write, city):
    _, files = write()
    with pytest.raises(errors.DataError, match="has 4 shards of 'val' already"):
        write(num_shards=3)
    with pytest.raises(errors.DataError, match=r"already.*--overwrite"):
        write(treat_crowd_as_ignore=True)
    _, again = write(num_shards=3, overwrite=True)
    assert len(again) == 3
    next(city.rglob("*_instanceIds.png")).touch()
    with pytest.raises(errors.DataError, match="already"):
        write(num_shards=3)
    assert files != again


def test_the_number_of_processes_changes_nothing(write):
    _, one = write("one")
    _, two = write("two", num_processes=2)
    assert one == two


def test_splits_are_added_to_the_manifest(write, city, miniatures, tmp_path):
    write()
    miniatures.write_cityscapes(city, {"bonn": 2}, "train", seed=70)
    write(splits=["train"])
    out = tmp_path / "out"
    assert [*json.loads((out / "manifest.json").read_text())["splits"]] == [
        "train",
        "val",
    ]
    assert not writer.find_manifest_problems(str(out))
    assert len(writer.read_manifest(str(out))) == 4 + 2


def test_all_bad_images_are_listed_and_good_shards_are_kept(
    write, city, tmp_path
):
    _, files = write("whole")
    photos = sorted(city.rglob("*_leftImg8bit.png"))
    contents = {photos[i]: photos[i].read_bytes() for i in (3, 8)}
    stats = {path: path.stat() for path in contents}
    for path in contents:
        path.write_bytes(b"no image")
    with pytest.raises(errors.DataError) as caught:
        write()
    for path in contents:
        assert path.name in str(caught.value)
    out = tmp_path / "out"
    assert not read_all(out)
    kept = sorted(p.name for p in (out / ".val.partial").glob("*.tfrecord"))
    assert kept == [f"val-0000{i}-of-00004.tfrecord" for i in (0, 2)]
    times = {
        name: (out / ".val.partial" / name).stat().st_mtime_ns for name in kept
    }
    for path, content in contents.items():
        path.write_bytes(content)
        os.utime(path, ns=(stats[path].st_atime_ns, stats[path].st_mtime_ns))
    _, again = write()
    assert again == files
    assert not (out / ".val.partial").exists()
    for name, written in times.items():
        assert (out / name).stat().st_mtime_ns == written


@pytest.mark.parametrize("place", [0, 3, 200, -1])
def test_a_shard_that_was_cut_off_is_written_again(
    write, tmp_path, place, monkeypatch
):
    _, files = write("whole")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(shards, "_move", stop)
        with pytest.raises(KeyboardInterrupt):
            write()
    work = tmp_path / "out" / ".val.partial"
    assert sorted(path.name for path in work.glob("*.tfrecord")) == [*files]
    path = work / "val-00001-of-00004.tfrecord"
    path.write_bytes(path.read_bytes()[:place])
    counts = work / "val-00002-of-00004.tfrecord.json"
    counts.write_text(counts.read_text()[:place])
    _, again = write()
    assert again == files


@pytest.mark.parametrize("done", range(5))
def test_a_stop_while_shards_move_is_made_good(
    write, tmp_path, monkeypatch, done
):
    _, files = write("whole")
    whole = json.loads((tmp_path / "whole" / "manifest.json").read_text())
    moved = []
    move = pathlib.Path.replace

    def replace(self, target):
        if self.parent.name == ".val.partial" and self.suffix == ".tfrecord":
            if not self.name.startswith(".") and len(moved) == done:
                raise KeyboardInterrupt
            if not self.name.startswith("."):
                moved.append(self.name)
        return move(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(pathlib.Path, "replace", replace)
        try:
            write()
            assert done == 4
        except KeyboardInterrupt:
            assert len(read_all(tmp_path / "out")) == done
    with monkeypatch.context() as patch:
        # Nothing is read again.
        patch.setattr(pool.Pool, "load", lambda _, items, __: iter(items))
        _, again = write()
    assert again == files
    content = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert content == whole
    assert not (tmp_path / "out" / ".val.partial").exists()


def test_two_calls_at_once_do_not_mix(write, tmp_path):
    work = tmp_path / "out" / ".val.partial"
    work.mkdir(parents=True)
    with open(work / "lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        with pytest.raises(errors.DataError, match="Another process writes"):
            write()
    write()


def test_work_files_are_left_to_another_process(tmp_path):
    target = shards.Target(tmp_path, "val", 1)
    target.work.mkdir()
    (target.work / "val-00000-of-00001.tfrecord").touch()
    with open(target.work / "lock", "w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        shards.remove_work(target)
        assert len(list(target.work.iterdir())) == 2
    shards.remove_work(target)
    assert not target.work.exists()
    shards.remove_work(target)
    assert not target.work.exists()


def test_disks_that_cannot_lock_are_written(write, monkeypatch):
    def refuse(*_):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write()


def _kill_at_random_moments(city, out, count, seed, check):
    """Runs the command until it was killed `count` times, and to its end.

    Whenever it comes to its end, `check` is called; then all begins anew, so
    that fast machines are interrupted as often as slow ones.
    """
    command = [
        sys.executable,
        str(_ROOT / "data" / "prepare.py"),
        "cityscapes",
        f"--root={city}",
        f"--out={out}",
        "--split=val",
        "--num_shards=40",
        "--num_processes=2",
    ]
    environment = dict(os.environ, PYTHONPATH=str(_ROOT))

    def start():
        return subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    chooser = random.Random(seed)
    killed = 0
    for _ in range(5 * count):
        if killed == count:
            break
        process = start()
        work = out / ".val.partial"
        limit = time.monotonic() + 120
        known = len([*work.glob("*.tfrecord")])
        # Some kills come before the first shard, others after several.
        wanted = known + chooser.randrange(4)
        while (
            len([*work.glob("*.tfrecord")]) < wanted
            and process.poll() is None
            and time.monotonic() < limit
        ):
            time.sleep(0.002)
        time.sleep(chooser.random() * 0.05)
        if process.poll() is None:
            killed += 1
            os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        if process.returncode == 0:
            check()
            shutil.rmtree(out)
    assert killed == count
    process = start()
    text, _ = process.communicate()
    assert process.returncode == 0, text


@pytest.mark.slow
def test_twenty_kills_leave_the_records_as_they_are_without(
    miniatures, prepare, tmp_path
):
    city, out = tmp_path / "city", tmp_path / "out"
    miniatures.write_cityscapes(city, {"ulm": 120}, "val")
    options = {"splits": ["val"], "num_shards": 40}
    prepare("cityscapes", city, tmp_path / "whole", **options)

    def check():
        assert read_all(out) == read_all(tmp_path / "whole")
        assert not writer.find_manifest_problems(str(out))
        assert not [*out.glob(".*")]

    _kill_at_random_moments(city, out, 20, 7, check)
    check()
