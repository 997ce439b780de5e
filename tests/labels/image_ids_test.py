# SPDX-License-Identifier: Apache-2.0
"""Which image is which: ids in two files, file names in folders."""

import pytest

from deeplab2_like import errors
from deeplab2_like.labels import image_ids

NORTH_SOUTH = {"north/1.jpg": 11, "south/1.jpg": 22, "south/2.jpg": 33}


@pytest.mark.parametrize(
    ("known", "wanted", "found"),
    [
        ([5, 9], 5, 5),
        ([5, 9], "5", 5),
        (["000139"], 139, "000139"),
        (["aachen"], "aachen", "aachen"),
        ([5, "5"], "5", "5"),
        ([5, "5"], "05", None),
        ([5], 6, None),
        ([5], "x", None),
    ],
)
def test_ids_are_found_as_numbers_and_as_digits(known, wanted, found):
    assert image_ids.IdIndex(known).find(wanted) == found


@pytest.mark.parametrize(
    ("path", "relative", "image_id"),
    [
        ("/data/images/north/1.jpg", "north/1.jpg", 11),
        ("/data/images/north/1.jpg", "1.jpg", 11),
        ("/data/images/south/1.jpg", "1.jpg", 22),
        ("/data/other/2.jpg", "2.jpg", 33),
        ("/data/other/3.jpg", "3.jpg", None),
    ],
)
def test_folders_decide_between_images_of_one_name(path, relative, image_id):
    assert image_ids.NameIndex(NORTH_SOUTH).find(path, relative) == image_id


@pytest.mark.parametrize("path", ["/data/1.jpg", "/data/east/1.jpg"])
def test_an_image_that_may_be_two_is_refused(path):
    with pytest.raises(errors.DataError) as caught:
        image_ids.NameIndex(NORTH_SOUTH).find(path, "1.jpg")
    assert f"{path} may be any of 2 images" in str(caught.value)
    assert "'north/1.jpg', 'south/1.jpg'" in str(caught.value)


def test_more_folders_in_the_data_set_than_in_the_path():
    index = image_ids.NameIndex({"val/a/1.jpg": 1, "val/b/1.jpg": 2})
    assert index.find("/data/a/1.jpg", "a/1.jpg") == 1
    index = image_ids.NameIndex({"val/a/1.jpg": 1, "test/a/1.jpg": 2})
    with pytest.raises(errors.DataError, match="may be any of 2 images"):
        index.find("/data/a/1.jpg", "a/1.jpg")


def test_an_image_at_the_root_is_known_by_the_folders_beside_it(tmp_path):
    index = image_ids.NameIndex({"1.jpg": 5, "north/1.jpg": 11})
    root, other = tmp_path / "images", tmp_path / "south"
    for folder in (root / "north", other):
        folder.mkdir(parents=True)
        (folder / "1.jpg").touch()
    (root / "1.jpg").touch()
    assert index.find(root / "1.jpg", "1.jpg") == 5
    assert index.find(root / "north/1.jpg", "north/1.jpg") == 11
    assert index.find(root / "north/1.jpg", "1.jpg") == 11
    for relative in ("1.jpg", "south/1.jpg"):
        with pytest.raises(errors.DataError, match="may be any of 2 images"):
            index.find(other / "1.jpg", relative)


def test_several_names_of_one_image_are_no_doubt():
    index = image_ids.NameIndex({"val/1.jpg": 7, "1.jpg": 7})
    assert index.find("/data/1.jpg", "1.jpg") == 7


def test_the_photo_of_an_entry_of_cityscapes_is_found(tmp_path):
    name = "bad-honnef_000001_000019_gtFine_leftImg8bit.png"
    photo = "bad-honnef/bad-honnef_000001_000019_leftImg8bit.png"
    assert image_ids.name_photo(name) == photo
    assert image_ids.name_photo("a/b_leftImg8bit.png") == "a/b_leftImg8bit.png"
    assert image_ids.find_photo(tmp_path, name) == photo
    flat = photo.partition("/")[2]
    (tmp_path / flat).touch()
    assert image_ids.find_photo(tmp_path, name) == flat
    (tmp_path / name).touch()
    assert image_ids.find_photo(tmp_path, name) == name
