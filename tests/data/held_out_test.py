# SPDX-License-Identifier: Apache-2.0
import os

import pytest

from deeplab2_like import errors
from deeplab2_like.console import progress
from deeplab2_like.data import held_out
from deeplab2_like.scenes import records as scenes_records

_TEXTS = held_out.Texts("the photos", "the records", "Remove them.")


@pytest.fixture(scope="module")
def pattern(tmp_path_factory):
    folder = tmp_path_factory.mktemp("records")
    scenes_records.write_records(
        str(folder), "val", 2, size=(33, 65), num_shards=1
    )
    return f"{folder}/val-*"


def _check(pattern, names):
    return held_out.check_apart(
        [pattern],
        lambda _: [(name, f"{name} there") for name in names],
        _TEXTS,
        progress.Progress(),
    )


def test_a_few_images_of_both_are_named(pattern):
    assert _check(pattern, []) == 2
    with pytest.raises(errors.DataError) as caught:
        _check(pattern, "abcde")
    assert str(caught.value) == (
        "The images 'a' (there 'a there'), 'b' (there 'b there'), 'c' (there "
        "'c there') and 2 more of the photos are also in the records, so that "
        "scores would be of images that were learned from. Remove them."
    )


def test_with_large_images_nothing_is_compared_which_is_said(tmp_path, capsys):
    pattern = str(tmp_path / "val.large.json")
    assert held_out.identify([pattern]) == ""
    assert _check(pattern, "a") == 0
    assert "are not compared with the large images" in capsys.readouterr().err


def test_records_that_changed_are_others(pattern):
    (path,) = held_out.record_files.find_files(pattern)
    before = held_out.identify([pattern])
    os.utime(path, (1, 1))
    assert before != held_out.identify([pattern]) != ""
    assert held_out.identify([]) == ""
