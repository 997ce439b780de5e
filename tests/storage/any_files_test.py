# SPDX-License-Identifier: Apache-2.0
"""The same for paths and for addresses."""

import os
import uuid

import pytest
import tensorflow as tf

from deeplab2_like.storage import any_files, json_files, whole_files


@pytest.fixture(params=["path", "address"])
def folder(request, tmp_path):
    if request.param == "path":
        return str(tmp_path / "run")
    return f"ram://{uuid.uuid4().hex}/run"


def test_files_are_written_listed_read_and_deleted(folder):
    assert not any_files.exists(folder)
    assert any_files.list_names(folder) == []
    json_files.write_json(any_files.join(folder, "part/numbers.json"), {"a": 1})
    path = any_files.join(folder, "text")
    whole_files.write_text(path, "é")
    assert any_files.list_names(folder) == ["part", "text"]
    assert any_files.is_folder(any_files.join(folder, "part"))
    assert not any_files.is_folder(path)
    assert any_files.read_text(path) == "é"
    whole_files.write_text(path, "other")
    assert any_files.read_bytes(path) == b"other"
    any_files.delete(path)
    any_files.delete(path)
    assert not any_files.exists(path)
    any_files.delete_folder(folder)
    any_files.delete_folder(folder)
    assert any_files.list_names(folder) == []


def test_what_fails_while_it_is_written_does_not_appear(folder):
    any_files.make_folder(folder)
    any_files.make_folder(folder)
    path = any_files.join(folder, "text")

    def fail():
        with whole_files.open_whole(path, "w") as file:
            file.write("half")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert any_files.list_names(folder) == []


def test_an_address_that_is_not_known_is_an_error_of_the_system():
    for look in (any_files.exists, any_files.read_bytes):
        with pytest.raises(OSError, match="'nosuch' not implemented"):
            look("nosuch://bucket/run")


def test_a_file_that_does_not_exist_is_an_error_of_the_system(folder):
    path = any_files.join(folder, "none")
    for read in (any_files.read_bytes, any_files.changed_at):
        with pytest.raises(FileNotFoundError):
            read(path)


def test_times_of_files_are_those_of_their_disk(folder):
    any_files.make_folder(folder)
    first, second = (any_files.join(folder, name) for name in "ab")
    whole_files.write_text(first, "")
    whole_files.write_text(second, "")
    assert 0 <= any_files.changed_at(second) - any_files.changed_at(first) < 60


def test_what_tensorflow_refuses_is_an_error_of_the_system(monkeypatch):
    def refuse(path):
        raise tf.errors.PermissionDeniedError(None, None, f"no {path}")

    monkeypatch.setattr(tf.io.gfile, "makedirs", refuse)
    with pytest.raises(OSError, match="no ram://a"):
        any_files.make_folder("ram://a")


def test_parts_of_a_file_are_read_at_any_place(folder):
    any_files.make_folder(folder)
    path = any_files.join(folder, "bytes")
    content = bytes(range(256)) * 9000
    with whole_files.open_whole(path) as file:
        file.write(content)
    assert any_files.size(path) == len(content)
    with any_files.open_read(path) as file:
        assert file.read(3) == content[:3]
        for start in (2_000_000, 5, 1_048_575):
            file.seek(start)
            assert file.tell() == start
            assert file.read(70_000) == content[start : start + 70_000]
        assert file.seek(-4, os.SEEK_END) == len(content) - 4
        assert file.read() == content[-4:]
        assert file.read(1) == b""
    with pytest.raises(FileNotFoundError):
        any_files.open_read(f"{path}-none")


def test_files_are_found_by_patterns(folder):
    any_files.make_folder(folder)
    for name in ("b.large.json", "a.large.json", "c.json"):
        whole_files.write_text(any_files.join(folder, name), "")
    found = any_files.find_files(any_files.join(folder, "*.large.json"))
    assert [path.rpartition("/")[2] for path in found] == [
        "a.large.json",
        "b.large.json",
    ]
    assert any_files.find_files(any_files.join(folder, "d*")) == []
