# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import errors
from deeplab2_like.data import unlabeled_files


def make_files(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"not read here")
    return folder


def find(pattern):
    return unlabeled_files.find_unlabeled(str(pattern))


def test_folders_are_searched_for_images(tmp_path):
    make_files(tmp_path, "a/2.png", "a/b/1.JPG", "a/notes.txt", "c/3.png")
    found = find(tmp_path / "a")
    assert found.images == [
        str(tmp_path / "a" / name) for name in ("2.png", "b/1.JPG")
    ]
    assert found.records == []
    assert len(find(tmp_path / "*").images) == 3


def test_patterns_are_of_images_or_records(tmp_path):
    names = ("1.png", "2.png", "train-00000-of-00001.tfrecord")
    make_files(tmp_path, *names)
    assert len(find(tmp_path / "*.png").images) == 2
    found = find(tmp_path / "train-*")
    assert found.images == []
    assert found.records == [str(tmp_path / names[2])]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("nothing-*", ["matches no file", "semi_supervised.unlabeled_pattern"]),
        ("empty", ["holds no image"]),
        ("tfds:coco:train", ["TensorFlow Datasets", "with labels only"]),
        ("both/*", ["also", "train-00000-of-00001.tfrecord", "not both"]),
    ],
)
def test_what_cannot_be_used_is_one_sentence(pattern, words, tmp_path):
    make_files(tmp_path, "both/1.png", "both/train-00000-of-00001.tfrecord")
    make_files(tmp_path, "empty/notes.txt")
    if not pattern.startswith("tfds:"):
        pattern = tmp_path / pattern
    with pytest.raises(errors.DataError) as info:
        find(pattern)
    for word in words:
        assert word in str(info.value)
    assert "\n" not in str(info.value)


def test_records_may_have_any_name(tmp_path):
    make_files(tmp_path, "photos.data", "photos")
    for name in ("photos.data", "phot*s"):
        assert find(tmp_path / name).records == [
            str(tmp_path / name.replace("*", "o"))
        ]


def test_addresses_are_refused_where_files_are_needed():
    with pytest.raises(errors.DataError, match=r"gs://a/b.*an address"):
        unlabeled_files.check_name("gs://a/b", allows_address=False)
    unlabeled_files.check_name("gs://a/b", allows_address=True)
