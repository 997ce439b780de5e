# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from deeplab2_like import errors
from deeplab2_like.storage import image_files

_LIMIT = 10_000


def _make_pixels(height=5, width=7, seed=0):
    random_state = np.random.RandomState(seed)
    return random_state.randint(0, 256, (height, width, 3), dtype=np.uint8)


def _write(path, pixels=None, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = _make_pixels() if pixels is None else pixels
    Image.fromarray(pixels).save(path, **options)
    return path


def _find(*inputs):
    found = image_files.find_images(inputs)
    return [(entry.relative_path, entry.name) for entry in found]


def test_a_folder_is_searched_with_its_folders(tmp_path):
    for name in ("b.PNG", "a.jpg", "sub/deep/c.webp"):
        _write(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    assert _find(tmp_path) == [
        ("a.jpg", "a"),
        ("b.PNG", "b"),
        ("sub/deep/c.webp", "sub/deep/c"),
    ]


def test_results_of_an_earlier_run_are_not_images(tmp_path):
    for name in ("a.jpg", "a.panoptic.png", "a.overlay.png", "._a.jpg"):
        _write(tmp_path / name, format="PNG")
    assert _find(tmp_path) == [("a.jpg", "a")]


def test_names_are_unique(tmp_path):
    for name in ("x/1.jpg", "x/1.png", "y/1.jpg", "y/1-2.jpg"):
        _write(tmp_path / name)
    found = _find(tmp_path / "x", tmp_path / "y")
    assert [name for _, name in found] == ["1", "1-2", "1-2-2", "1-3"]


def test_named_files_may_have_any_extension(tmp_path):
    path = _write(tmp_path / "camera.raw", format="PNG")
    assert _find(path) == [("camera.raw", "camera")]


def test_missing_inputs_stop_before_any_work(tmp_path):
    _write(tmp_path / "a.png")
    with pytest.raises(errors.DataError, match=r"x\.png and 1 more do not"):
        _find(tmp_path / "a.png", tmp_path / "x.png", tmp_path / "y.png")


def test_a_folder_without_images_is_an_error(tmp_path):
    with pytest.raises(errors.DataError, match="holds no image"):
        _find(tmp_path)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_upright(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = _write(tmp_path / "a.png", exif=exif)
    expected = ImageOps.exif_transpose(Image.open(path))
    np.testing.assert_array_equal(
        image_files.load_image(path, _LIMIT), np.asarray(expected)
    )


def test_jpegs_are_decoded_as_in_evaluation(tmp_path):
    path = _write(tmp_path / "a.jpg", _make_pixels(40, 30), quality=50)
    expected = tf.io.decode_image(path.read_bytes(), channels=3)
    np.testing.assert_array_equal(
        image_files.load_image(path, _LIMIT), expected
    )


@pytest.mark.parametrize("ending", ["bmp", "tif", "webp", "png"])
def test_other_kinds_and_colors_become_rgb(tmp_path, ending):
    options = {"lossless": True} if ending == "webp" else {}
    path = _write(tmp_path / f"a.{ending}", **options)
    np.testing.assert_array_equal(
        image_files.load_image(path, _LIMIT), _make_pixels()
    )
    grey = _make_pixels()[..., 0]
    path = _write(tmp_path / f"grey.{ending}", grey, **options)
    np.testing.assert_array_equal(
        image_files.load_image(path, _LIMIT), np.stack([grey] * 3, -1)
    )


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_of_sixteen_bits_the_upper_eight_are_taken(tmp_path, ending):
    pixels = (np.arange(35).reshape(5, 7) * 1800).astype(np.uint16)
    path = _write(tmp_path / f"a.{ending}", pixels)
    loaded = image_files.load_image(path, _LIMIT)
    np.testing.assert_array_equal(loaded[..., 0], pixels >> 8)


def test_images_without_a_range_are_refused(tmp_path):
    path = _write(tmp_path / "a.tif", np.ones((5, 7), np.float32))
    with pytest.raises(errors.DataError, match=r"a\.tif.*32 bits"):
        image_files.load_image(path, _LIMIT)


@pytest.mark.parametrize("data", [b"", b"hello", b"\xff\xd8\xff", b"\x89PNG"])
def test_a_file_that_is_no_image_is_one_sentence(tmp_path, data):
    path = tmp_path / "a.jpg"
    path.write_bytes(data)
    with pytest.raises(errors.DataError, match=r"a\.jpg is not an image"):
        image_files.load_image(path, _LIMIT)


@pytest.mark.parametrize("ending", ["jpg", "png", "tif"])
def test_a_damaged_image_is_one_sentence(tmp_path, ending):
    path = _write(tmp_path / f"a.{ending}", _make_pixels(60, 60))
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(errors.DataError, match=r"a\.\w+ is (damaged|not an)"):
        image_files.load_image(path, _LIMIT)


@pytest.mark.parametrize("ending", ["jpg", "png", "bmp"])
def test_a_large_image_is_refused_with_its_size(tmp_path, ending):
    path = _write(tmp_path / f"a.{ending}", _make_pixels(120, 100))
    with pytest.raises(errors.DataError, match="100 x 120 pixels"):
        image_files.load_image(path, _LIMIT)


def test_a_folder_or_missing_file_is_no_image(tmp_path):
    with pytest.raises(errors.DataError, match="is a folder"):
        image_files.load_image(tmp_path, _LIMIT)
    with pytest.raises(errors.DataError, match="does not exist"):
        image_files.load_image(tmp_path / "a.png", _LIMIT)
