# SPDX-License-Identifier: Apache-2.0
import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data.records import files as record_files
from deeplab2_like.data.records import writer as record_writer


def make_records(count, seed=0):
    generator = np.random.default_rng(seed)
    return [
        generator.bytes(int(size)) for size in generator.integers(0, 300, count)
    ]


def write(folder, count=10, split="train", num_shards=3, **options):
    data = make_records(count)
    paths = record_writer.write_shards(
        data, count, str(folder), split, num_shards, **options
    )
    return data, paths


def test_shards_are_contiguous_and_named_as_in_deeplab2(tmp_path):
    data, paths = write(tmp_path)
    assert [os.path.basename(path) for path in paths] == [
        "train-00000-of-00003.tfrecord",
        "train-00001-of-00003.tfrecord",
        "train-00002-of-00003.tfrecord",
    ]
    counts = [len(record_files.scan_file(path).offsets) for path in paths]
    assert counts == [4, 4, 2]
    read = list(tf.data.TFRecordDataset(paths).as_numpy_iterator())
    assert read == data


@pytest.mark.parametrize("count", range(1, 30))
def test_no_shard_is_empty(count):
    for shards in range(1, 12):
        sizes = record_writer.compute_shard_sizes(count, shards)
        assert sum(sizes) == count
        assert len(sizes) == min(shards, count)
        assert min(sizes) >= 1


def test_shard_sizes_are_rounded_up():
    assert record_writer.compute_shard_sizes(2975, 10) == [298] * 9 + [293]


def test_offsets_and_lengths_come_from_the_headers(tmp_path):
    data, (path,) = write(tmp_path, num_shards=1)
    scanned = record_files.scan_file(path)
    assert scanned.lengths.tolist() == [len(record) for record in data]
    assert scanned.problem == ""
    with open(path, "rb") as stream:
        content = stream.read()
    for offset, record in zip(scanned.offsets, data, strict=True):
        assert content[offset + 12 : offset + 12 + len(record)] == record


def test_truncation_at_any_byte_keeps_the_records_before_it(tmp_path):
    _, (path,) = write(tmp_path, num_shards=1)
    whole = record_files.scan_file(path)
    content = pathlib.Path(path).read_bytes()
    ends = whole.offsets + whole.lengths + 16
    cut_path = str(tmp_path / "cut.tfrecord")
    for size in np.random.default_rng(1).integers(1, len(content), 20):
        with open(cut_path, "wb") as stream:
            stream.write(content[:size])
        count = int((ends <= size).sum())
        scanned = record_files.scan_file(cut_path)
        assert len(scanned.offsets) == count
        if size in ends:
            assert not scanned.problem
            continue
        assert scanned.problem
        with pytest.raises(errors.DataError, match="cut"):
            record_files.scan_files([cut_path])
        if count:
            assert f"has {count} good records" in scanned.problem
            (kept,) = record_files.scan_files([cut_path], on_damage="skip")
            assert len(kept.offsets) == count


def test_a_damaged_header_ends_the_scan(tmp_path):
    _, (path,) = write(tmp_path, num_shards=1)
    offset = int(record_files.scan_file(path).offsets[6])
    content = bytearray(pathlib.Path(path).read_bytes())
    content[offset] ^= 1
    with open(path, "wb") as stream:
        stream.write(content)
    scanned = record_files.scan_file(path)
    assert len(scanned.offsets) == 6
    assert f"damaged at byte {offset}" in scanned.problem


@pytest.mark.parametrize("content", [b"no records at all, just text", b"abc"])
def test_a_file_of_another_kind_is_named(tmp_path, content):
    path = tmp_path / "train-x.tfrecord"
    path.write_bytes(content)
    with pytest.raises(errors.DataError, match="is not a TFRecord file"):
        record_files.scan_files([str(path)])


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(errors.DataError, match=r"Cannot read '.*gone'"):
        record_files.scan_file(str(tmp_path / "gone"))


def test_patterns_give_sorted_files_once(tmp_path):
    _, paths = write(tmp_path)
    patterns = [str(tmp_path / "*-0000[12]-*"), str(tmp_path / "train-*")]
    assert record_files.find_files(patterns) == paths
    assert record_files.find_files(patterns[0]) == paths[1:]


@pytest.mark.parametrize("patterns", [[], "", [""]])
def test_no_pattern_is_an_error(patterns):
    with pytest.raises(errors.DataError, match="no file pattern"):
        record_files.find_files(patterns)


def test_a_pattern_without_files_is_an_error(tmp_path):
    write(tmp_path)
    patterns = [str(tmp_path / "train-*"), str(tmp_path / "val-*")]
    with pytest.raises(errors.DataError, match=r"val-\*' matches no file"):
        record_files.find_files(patterns)


def test_a_folder_is_an_error(tmp_path):
    with pytest.raises(errors.DataError, match="matches the folder"):
        record_files.find_files(str(tmp_path))


def test_empty_files_are_an_error_except_as_last_shards(tmp_path):
    pattern = str(tmp_path / "*")
    for index, content in enumerate([b"x", b"", b""]):
        path = tmp_path / f"val-0000{index}-of-00003.tfrecord"
        path.write_bytes(content)
    assert len(record_files.find_files(pattern)) == 3
    (tmp_path / "val-00002-of-00003.tfrecord").write_bytes(b"x")
    with pytest.raises(errors.DataError, match=r"1 empty files.*val-00001"):
        record_files.find_files(pattern)
    for path in tmp_path.iterdir():
        path.write_bytes(b"")
    with pytest.raises(errors.DataError, match="only empty files"):
        record_files.find_files(pattern)


def test_two_versions_of_a_split_are_an_error(tmp_path):
    write(tmp_path, num_shards=2)
    path = tmp_path / "train-00000-of-00009.tfrecord"
    path.write_bytes(b"x")
    with pytest.raises(errors.DataError, match="2 versions of 'train"):
        record_files.find_files(str(tmp_path / "train-*"))


def test_the_checksum_is_that_of_tensorflow(tmp_path):
    path = str(tmp_path / "x")
    with tf.io.TFRecordWriter(path) as writer:
        writer.write(b"12345678")
    content = pathlib.Path(path).read_bytes()
    data = np.frombuffer(content[12:20], np.uint8)[None]
    stored = int.from_bytes(content[20:24], "little")
    assert record_files.compute_masked_crc(data).tolist() == [stored]


def test_the_manifest_names_what_changed(tmp_path):
    _, paths = write(tmp_path)
    write(tmp_path, split="val", num_shards=1)
    assert len(record_writer.read_manifest(str(tmp_path))) == 4
    assert record_writer.find_manifest_problems(str(tmp_path)) == []
    with open(paths[1], "ab") as stream:
        stream.write(b"x")
    os.remove(paths[2])
    changed, gone = record_writer.find_manifest_problems(str(tmp_path))
    assert "train-00001" in changed
    assert "differs" in changed
    assert "train-00002" in gone


def test_older_shards_are_replaced_only_when_asked(tmp_path):
    write(tmp_path, num_shards=4)
    with pytest.raises(errors.DataError, match="has 4 shards of 'train'"):
        write(tmp_path, num_shards=2)
    write(tmp_path, num_shards=2, overwrite=True)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [
        "MANIFEST.sha256",
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]
    assert record_writer.find_manifest_problems(str(tmp_path)) == []


def test_a_failure_leaves_the_folder_as_it_was(tmp_path):
    write(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}

    def fail():
        yield from make_records(5)
        raise errors.DataError("image 5 is bad")

    with pytest.raises(errors.DataError, match="image 5 is bad"):
        record_writer.write_shards(
            fail(), 10, str(tmp_path), "train", 3, overwrite=True
        )
    after = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert after == before


def test_nothing_to_write_is_an_error(tmp_path):
    with pytest.raises(errors.DataError, match="at least 1"):
        record_writer.write_shards([], 0, str(tmp_path), "train", 1)
