# SPDX-License-Identifier: Apache-2.0
"""Tiles that several programs predict are those of one program."""

import json
import os

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.large_images import parts, predicting, work_folder
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.storage import file_locks

_SIZE = (97, 100)
_OPTIONS = LargeOptions(65, 32, 3000)


class _Killed(BaseException):
    """Nobody catches it, as nobody catches a kill."""


class _Programs:
    """Programs that predict one image, as a whole or in parts."""

    def __init__(self, synthetic, quiet, folder):
        self._heads = synthetic.make_heads(7, _SIZE, 4)
        self._synthetic, self._quiet = synthetic, quiet
        self.work = folder / "work"
        self.reads = 0

    def _load(self, fingerprint):
        model = self._synthetic.make_model(
            self._heads,
            self._synthetic.make_rules(),
            4,
            fingerprint=fingerprint,
        )
        return model, self._synthetic.place_image(*_SIZE)

    def predict_part(self, part, *, options=_OPTIONS, fingerprint="one"):
        model, image = self._load(fingerprint)
        path = part.name_folder(self.work)
        predicting.predict_part(model, image, options, path, part, self._quiet)
        self.reads = image.reads
        return path

    def predict(self, *, work=None):
        model, image = self._load("one")
        result = predicting.predict_large(
            model,
            image,
            _OPTIONS,
            work or self.work,
            self._quiet,
            parts=parts.find_folders(self.work),
        )
        self.reads = image.reads
        return result.labels.read(0, _SIZE[0])


@pytest.fixture(name="programs")
def _make_programs(synthetic, quiet, tmp_path):
    return _Programs(synthetic, quiet, tmp_path)


@pytest.fixture(name="expected")
def _expected(programs, tmp_path):
    labels = programs.predict(work=tmp_path / "alone")
    assert programs.reads == 6  # Tiles.
    return labels


def _list(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_parts_are_joined(programs, expected, count, tmp_path):
    reads = []
    for number in range(1, count + 1):
        programs.predict_part(parts.Part(number, count))
        reads.append(programs.reads)
    assert sum(reads) == 6
    found = programs.predict()
    assert programs.reads == 0
    np.testing.assert_array_equal(found, expected)
    assert _list(tmp_path) == ["alone", "work"]


def test_a_part_goes_on_where_it_was(programs):
    part = parts.Part(1, 2)
    programs.predict_part(part)
    assert programs.reads == 3
    programs.predict_part(part)
    assert programs.reads == 0


def test_tiles_that_no_part_has_are_predicted(programs, expected):
    programs.predict_part(parts.Part(2, 3))
    found = programs.predict()
    assert programs.reads == 4
    np.testing.assert_array_equal(found, expected)


def test_killed_while_it_takes_over_it_goes_on(programs, expected, monkeypatch):
    replace, kills = os.replace, 0
    for number in (1, 2):
        programs.predict_part(parts.Part(number, 2))

    def replace_until_kill(source, target):
        if "tiles" in str(source) and ".partial" not in str(source):
            replace_until_kill.left -= 1
            if replace_until_kill.left < 0:
                raise _Killed
        replace(source, target)

    while True:
        replace_until_kill.left = 1
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", replace_until_kill)
            try:
                found = programs.predict()
                break
            except _Killed:
                kills += 1
    assert kills >= 3
    assert programs.reads == 0
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"fingerprint": "two"}, "model differ"),
        ({"options": LargeOptions(65, 16, 3000)}, "options differ"),
    ],
)
def test_a_part_of_something_else_is_refused(programs, change, named):
    path = programs.predict_part(parts.Part(1, 2), **change)
    before = _list(path / "tiles")
    with pytest.raises(errors.DataError, match=named) as caught:
        programs.predict()
    assert str(path) in str(caught.value)
    assert _list(path / "tiles") == before


def test_parts_of_several_overlaps_are_refused(programs):
    for number, pixels in ((1, 16), (2, 32)):
        path = programs.predict_part(parts.Part(number, 2))
        folder = work_folder.WorkFolder(
            path, json.loads(work_folder.read_plan(path))
        )
        folder.note("overlap", pixels)
        del folder
    with pytest.raises(
        errors.DataError, match=r"the same --overlap\."
    ) as found:
        programs.predict()
    assert "has the overlap 32, the other parts have 16" in str(found.value)


def test_a_part_that_is_still_predicted_is_waited_for(programs, expected):
    path = programs.predict_part(parts.Part(1, 2))
    descriptor = os.open(path / ".work.lock", os.O_RDWR)
    try:
        assert file_locks.take(descriptor)
        with pytest.raises(errors.ConfigError, match=r"Wait for it\."):
            programs.predict()
    finally:
        os.close(descriptor)
    np.testing.assert_array_equal(programs.predict(), expected)


def test_only_folders_of_parts_are_found(tmp_path):
    for name in ("a", "a.1of2", "a.2of2", "ab.1of2", "a.1of2.txt", "a.of2"):
        (tmp_path / name).mkdir()
    (tmp_path / "a.3of4").write_text("a file")
    found = parts.find_folders(tmp_path / "a")
    assert [path.name for path in found] == ["a.1of2", "a.2of2"]
    assert parts.find_folders(tmp_path / "none" / "a") == []


def test_a_part_is_read_from_a_flag():
    assert parts.Part.parse("2/4") == parts.Part(2, 4)
    for text in ("", "2", "0/4", "5/4", "a/b", "2/4/6", "-1/4", "1/0", "1 /4"):
        with pytest.raises(errors.ConfigError, match="K-th of N parts"):
            parts.Part.parse(text)


def test_each_tile_is_in_one_part():
    numbers = [n for k in range(1, 5) for n in parts.Part(k, 4).tiles(11)]
    assert sorted(numbers) == list(range(11))
    assert list(parts.WHOLE.tiles(3)) == [0, 1, 2]
