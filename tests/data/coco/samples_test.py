# SPDX-License-Identifier: Apache-2.0
"""Images and their labels in the format of COCO panoptic."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like.data.coco import samples as coco_samples


def test_segments_become_panoptic_ids(coco):
    one, two = coco.load_samples()
    assert (one.name, two.name) == ("one", "two")
    np.testing.assert_array_equal(one.panoptic, coco.expected)
    assert one.panoptic.dtype == np.int32
    assert one.image == (coco.folder / "images/one.png").read_bytes()
    assert one.image_format == "png"
    assert one.instances == {1: 2, 2: 1}
    assert one.num_crowds == 1
    assert not one.is_converted


def test_instances_are_numbered_in_the_order_of_the_json(coco):
    coco.content["annotations"][0]["segments_info"].reverse()
    one, two = coco.load_samples()
    assert set(one.panoptic[coco.letters == "a"]) == {12}
    assert set(one.panoptic[coco.letters == "b"]) == {11}
    np.testing.assert_array_equal(two.panoptic, coco.expected)


def test_crowds_can_be_ignored(coco):
    one, _ = coco.load_samples(treat_crowd_as_ignore=True)
    assert set(one.panoptic[coco.letters == "c"]) == {2550}
    assert set(one.panoptic[coco.letters == "d"]) == {21}


def test_an_image_without_segments_is_void(coco):
    coco.content["annotations"][0]["segments_info"] = []
    black = np.zeros((*coco.letters.shape, 3), np.uint8)
    Image.fromarray(black).save(coco.folder / "panoptic/a.png")
    assert set(coco.load_samples()[0].panoptic.ravel()) == {2550}


def test_a_split_without_labels_needs_images_only(coco):
    del coco.content["annotations"]
    entries = coco.load(with_labels=False)
    sample = coco_samples.load_sample(entries[0], coco.descriptor)
    assert sample.panoptic is None
    assert sample.size == coco.letters.shape


# Faults between the JSON file and the PNG.


def drop_segment(segments):
    segments.pop(1)


def add_segment(segments):
    segments.append({"id": 999, "category_id": 2, "area": 1})


def change_category(segments):
    segments[0]["category_id"] = 8


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (drop_segment, "segment 300 (8 pixels) is in the PNG but not in the J"),
        (add_segment, "segment 999 is in the JSON but not in the PNG"),
        (change_category, "segment 70000 has the category_id 8, which data s"),
    ],
)
def test_disagreements_name_image_and_segment(coco, change, part):
    change(coco.content["annotations"][0]["segments_info"])
    message = coco.get_error()
    assert message.startswith("Image 'one': ")
    assert part in message


def test_an_area_may_be_left_out(coco):
    segments = coco.content["annotations"][0]["segments_info"]
    del segments[0]["area"]
    segments[1]["area"] = None
    one, _ = coco.load_samples()
    assert one.num_other_areas == 0


def test_an_area_of_a_polygon_tool_is_counted_and_not_used(coco):
    segments = coco.content["annotations"][0]["segments_info"]
    segments[0]["area"] = 6.5
    segments[1]["area"] = "9"
    one, two = coco.load_samples()
    assert (one.num_other_areas, two.num_other_areas) == (2, 0)
    np.testing.assert_array_equal(one.panoptic, coco.expected)


def test_a_label_that_was_smoothed_is_called_so(coco):
    path = coco.folder / "panoptic/a.png"
    with Image.open(path) as image:
        smooth = image.resize((40, 16), Image.Resampling.BICUBIC)
    smooth.resize(image.size, Image.Resampling.BICUBIC).save(path)
    message = coco.get_error()
    assert message.startswith("Image 'one': the PNG has ")
    assert "drawn with smooth borders" in message


def test_different_sizes_are_named(coco):
    Image.new("RGB", (10, 5)).save(coco.folder / "images/one.png")
    coco.content["images"][1]["width"] = 11
    message = coco.get_error()
    assert "Image 'one' has different sizes" in message
    assert "the image 5x10, the PNG 4x10, the JSON 4x11" in message


def test_more_instances_than_the_divisor_allows_are_named(coco):
    rows = np.arange(1, 12)[:, None] * np.ones((1, 3), int)
    rgb = np.stack([rows, rows * 0, rows * 0], -1).astype(np.uint8)
    Image.fromarray(rgb).save(coco.folder / "panoptic/a.png")
    Image.new("RGB", (3, 11)).save(coco.folder / "images/one.png")
    coco.content["images"][1] |= {"height": 11, "width": 3}
    coco.content["annotations"][0]["segments_info"] = [
        {"id": key, "category_id": 9, "area": 3} for key in range(1, 12)
    ]
    message = coco.get_error()
    assert "Image 'one' has 11 instances of 'car'" in message
    assert "label_divisor 10 of data set 'toy' allows 9" in message


@pytest.mark.parametrize("path", ["images/one.png", "panoptic/a.png"])
@pytest.mark.parametrize("text", [b"", b"<html>not found</html>", None])
def test_files_that_are_not_images_are_named(coco, path, text):
    if text is None:
        content_of_file = (coco.folder / path).read_bytes()
        text = content_of_file[: len(content_of_file) // 2]
    (coco.folder / path).write_bytes(text)
    assert path in coco.get_error()


@pytest.mark.parametrize("mode", ["L", "P", "I;16"])
def test_a_label_of_another_kind_is_named(coco, mode):
    Image.new(mode, coco.letters.shape[::-1]).save(
        coco.folder / "panoptic/a.png"
    )
    assert "a.png" in coco.get_error()


def test_a_16_bit_image_is_refused(coco):
    Image.new("I;16", coco.letters.shape[::-1]).save(
        coco.folder / "images/one.png"
    )
    message = coco.get_error()
    assert "Image 'one' has more than 8 bits a channel" in message


@pytest.mark.parametrize(
    ("mode", "file_format"),
    [("RGBA", "PNG"), ("P", "PNG"), ("CMYK", "JPEG"), ("RGB", "BMP")],
)
def test_other_images_are_rewritten_as_rgb(coco, mode, file_format):
    image = Image.new("RGB", coco.letters.shape[::-1], (250, 130, 20)).convert(
        mode
    )
    image.save(coco.folder / "images/one.png", format=file_format)
    one, two = coco.load_samples()
    assert one.is_converted
    assert not two.is_converted
    decoded = tf.io.decode_png(one.image).numpy()
    assert decoded.shape == (*coco.letters.shape, 3)
    with Image.open(coco.folder / "images/one.png") as saved:
        np.testing.assert_array_equal(decoded, np.asarray(saved.convert("RGB")))


def _save_photo(coco, name, orientation, stored):
    """Saves a photo whose red part is the segment "a" of the scene."""
    tags = Image.Exif()
    tags[0x0112] = orientation
    path = coco.folder / f"images/{name}.png"
    Image.fromarray(stored).save(path, exif=tags)


def _draw_photo(coco):
    is_red = (coco.letters == "a")[..., None]
    return np.where(is_red, [200, 0, 0], [0, 0, 90]).astype(np.uint8)


def _decode(sample):
    return tf.io.decode_png(sample.image).numpy()


def test_photos_upside_down_follow_those_on_their_side(coco):
    photo = _draw_photo(coco)
    # The label of "one" belongs to the stored pixels, so that of "two" does.
    _save_photo(coco, "one", 6, photo)
    _save_photo(coco, "two", 3, photo)
    for sample in coco.load_samples():
        np.testing.assert_array_equal(_decode(sample), photo)
        assert not sample.is_converted
    # Both labels belong to the upright photo.
    _save_photo(coco, "one", 6, np.rot90(photo))
    _save_photo(coco, "two", 3, np.rot90(photo, 2))
    for sample in coco.load_samples():
        np.testing.assert_array_equal(_decode(sample), photo)
        assert sample.is_converted


@pytest.mark.parametrize("exif", ["auto", "apply", "ignore"])
def test_where_no_photo_shows_it_a_flag_decides_or_a_warning_names_them(
    coco, exif
):
    photo = _draw_photo(coco)
    _save_photo(coco, "one", 3, photo)
    warnings = []
    (entry, _) = coco.load(exif=exif, warn=warnings.append)
    sample = coco_samples.load_sample(entry, coco.descriptor)
    upright = np.rot90(photo, 0 if exif == "ignore" else 2)
    np.testing.assert_array_equal(_decode(sample), upright)
    assert [("'one'" in warning) for warning in warnings] == [True] * (
        exif == "auto"
    )


def test_images_that_differ_in_the_extension_only_are_two_images(coco):
    (coco.folder / "images/two.png").rename(coco.folder / "images/one.jpg")
    coco.content["images"][0]["file_name"] = "one.jpg"
    names = [sample.name for sample in coco.load_samples()]
    assert names == ["one.jpg", "one.png"]


def test_further_pages_are_noted(coco):
    page = Image.fromarray(_draw_photo(coco))
    path = coco.folder / "images/one.png"
    page.save(path, format="TIFF", save_all=True, append_images=[page])
    one, two = coco.load_samples()
    assert "Image 'one' has 2 pages" in one.note
    assert two.note == ""
    np.testing.assert_array_equal(_decode(one), _draw_photo(coco))


def test_exif_orientation_is_applied_where_the_label_has_it(coco):
    height, width = coco.letters.shape
    for size, expected in (
        ((height, width), True),  # Stored lying, upright as the label.
        ((width, height), False),  # Stored as the label was drawn.
    ):
        exif = Image.Exif()
        exif[0x0112] = 6
        path = coco.folder / "images/one.png"
        Image.new("RGB", size).save(path, format="JPEG", exif=exif)
        one = coco.load_samples()[0]
        assert one.size == (height, width)
        assert one.is_converted == expected
