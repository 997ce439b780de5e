# SPDX-License-Identifier: Apache-2.0
"""A prediction that is interrupted anywhere goes on, to the same bytes."""

import hashlib

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.large_images import predicting, work_folder
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.storage import file_locks, whole_files

_SIZE = (97, 100)
_OPTIONS = LargeOptions(65, 32, 3000)


class _Killed(BaseException):
    """Nobody catches it, as nobody catches a kill."""


@pytest.fixture(name="predict")
def _predict(synthetic, quiet):
    heads = synthetic.make_heads(7, _SIZE, 4)
    rules = synthetic.make_rules()

    def predict(folder, *, options=_OPTIONS, path="drawn", fingerprint="one"):
        image = synthetic.place_image(*_SIZE)
        image.path = path
        model = synthetic.make_model(heads, rules, 4, fingerprint=fingerprint)
        result = predicting.predict_large(model, image, options, folder, quiet)
        predict.reads = image.reads
        return result

    return predict


def _hash_files(folder):
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(
            path.read_bytes()
        ).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_interrupted_at_each_file_it_goes_on(predict, tmp_path, monkeypatch):
    """In the middle of a file, or just before it appears."""
    whole = tmp_path / "whole"
    predict(whole)
    expected = _hash_files(whole)
    folder = tmp_path / "often"
    open_whole = whole_files.open_whole
    kills = 0
    while True:
        left = [1 + kills % 5]

        def open_until_kill(path, mode="wb", left=left):
            left[0] -= 1
            if not left[0]:
                partial = whole_files.partial_path(path)
                partial.write_bytes(b"half")
                raise _Killed
            return open_whole(path, mode)

        with monkeypatch.context() as patch:
            patch.setattr(whole_files, "open_whole", open_until_kill)
            try:
                predict(folder)
                break
            except _Killed:
                kills += 1
    assert kills > 10
    assert _hash_files(folder) == expected


def test_what_is_done_is_not_done_again(predict, tmp_path):
    first = predict(tmp_path / "work")
    assert predict.reads == 6
    again = predict(tmp_path / "work")
    assert predict.reads == 0
    np.testing.assert_array_equal(
        first.labels.read(0, 97), again.labels.read(0, 97)
    )


@pytest.mark.parametrize(
    "change",
    [
        {"path": "other"},
        {"fingerprint": "two"},
        {"options": LargeOptions(65, 16, 3000)},
    ],
)
def test_work_for_something_else_begins_anew(predict, tmp_path, change):
    predict(tmp_path / "work")
    predict(tmp_path / "work", **change)
    assert predict.reads >= 4


def test_files_of_others_are_not_touched(predict, tmp_path):
    file = tmp_path / "work" / "mine.txt"
    file.parent.mkdir()
    file.write_text("mine")
    with pytest.raises(errors.DataError, match="no work files"):
        predict(file.parent)
    work_folder.clear(file.parent)
    assert file.read_text() == "mine"


def test_files_of_a_plan_of_others_are_not_touched(predict, tmp_path):
    folder = tmp_path / "work"
    for name in ("plan.json", "tiles/mine.txt", "mine.npz"):
        (folder / name).parent.mkdir(exist_ok=True, parents=True)
        (folder / name).write_text('["mine"]')
    before = _hash_files(folder)
    with pytest.raises(errors.DataError, match="no work files"):
        predict(folder)
    assert work_folder.clear(folder)
    assert _hash_files(folder) == before


def test_a_plan_that_was_lost_with_the_power_is_made_anew(predict, tmp_path):
    predict(tmp_path / "work")
    (tmp_path / "work" / "plan.json").write_bytes(bytes(100))
    predict(tmp_path / "work")
    assert predict.reads == 6


def test_work_files_of_another_program_are_left_alone(predict, tmp_path):
    """Neither other work, nor who deletes them, touches them."""
    folder = tmp_path / "work"
    predict(folder)
    before = _hash_files(folder)
    with (folder / ".work.lock").open() as file:
        assert file_locks.take(file.fileno())
        for options in (_OPTIONS, LargeOptions(65, 16, 3000)):
            with pytest.raises(errors.ConfigError, match="Another program"):
                predict(folder, options=options)
        assert not work_folder.clear(folder)
        assert _hash_files(folder) == before
    assert work_folder.clear(folder)
    assert not folder.exists()


def test_what_a_result_reads_is_not_deleted_by_other_programs(
    predict, tmp_path
):
    result = predict(tmp_path / "work")
    with (tmp_path / "work" / ".work.lock").open() as file:
        assert not file_locks.take(file)
        del result
        assert file_locks.take(file)


def test_clear_leaves_nothing(predict, tmp_path):
    predict(tmp_path / "work")
    names = {name.split("/")[0] for name in _hash_files(tmp_path / "work")}
    assert names == {
        ".work.lock",
        "plan.json",
        "notes.json",
        "bands",
        "centers.npz",
        "segments.npz",
    }
    work_folder.clear(tmp_path / "work")
    assert not (tmp_path / "work").exists()
