# SPDX-License-Identifier: Apache-2.0
import errno

import pytest

from deeplab2_like.storage import whole_files


class _StopError(Exception):
    pass


def test_a_file_appears_when_the_block_ends(tmp_path):
    file = tmp_path / "a.txt"
    with whole_files.open_whole(file, "w") as stream:
        stream.write("grün\n")
        assert not file.exists()
    assert file.read_bytes() == "grün\n".encode()
    with whole_files.open_whole(file) as stream:
        stream.write(b"bytes")
    assert file.read_bytes() == b"bytes"
    assert list(tmp_path.iterdir()) == [file]


def test_a_failed_write_leaves_the_earlier_file(tmp_path):
    file = tmp_path / "a.txt"
    whole_files.write_text(file, "earlier")

    def write_half():
        with whole_files.open_whole(file) as stream:
            stream.write(b"half")
            raise _StopError

    with pytest.raises(_StopError):
        write_half()
    assert file.read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [file]


def _write(partials, texts):
    for partial, text in zip(partials, texts, strict=True):
        partial.write_text(text)


def test_files_appear_together_and_replace_older_ones(tmp_path):
    old, first, second = (tmp_path / name for name in ("old", "b", "c"))
    old.write_text("old")
    files = whole_files.WholeFiles([first, second], replaced=[old])
    with files as partials:
        _write(partials, "12")
        assert old.exists()
        assert not first.exists()
    assert sorted(tmp_path.iterdir()) == [first, second]
    assert first.read_text() + second.read_text() == "12"


def test_files_that_fail_leave_the_older_ones(tmp_path):
    old = tmp_path / "old"
    old.write_text("old")

    def write_half():
        files = whole_files.WholeFiles([tmp_path / "b"], replaced=[old])
        with files as partials:
            _write(partials, "1")
            raise _StopError

    with pytest.raises(_StopError):
        write_half()
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("exists", [True, False])
def test_a_folder_appears_at_the_end_or_not_at_all(tmp_path, exists):
    target = tmp_path / "deep" / "folder"
    if exists:
        target.mkdir(parents=True)
        (target / "earlier").touch()

    def write_half():
        with whole_files.new_folder(target) as folder:
            (folder / "new").touch()
            raise _StopError

    with pytest.raises(_StopError):
        write_half()
    assert target.exists() == exists
    with whole_files.new_folder(target) as folder:
        (folder / "new").touch()
    assert [file.name for file in target.iterdir()] == ["new"]
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("error", "is_full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (RuntimeError("part-0; No space left on device"), True),
        (RuntimeError("No such file"), False),
    ],
)
def test_a_full_disk_is_recognized(error, is_full):
    assert whole_files.is_disk_full(error) == is_full


def test_a_full_disk_is_described_for_files_that_do_not_exist(tmp_path):
    text = whole_files.describe_full_disk(tmp_path / "no" / "file")
    assert text.startswith(f"The disk of {tmp_path}/no/file is full (")
    assert text.endswith(" bytes free).")
