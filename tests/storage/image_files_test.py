# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from deeplab2_like import errors
from deeplab2_like.storage import image_decoding, image_files

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
    assert _find(tmp_path) == [
        ("a.jpg", "a"),
        ("b.PNG", "b"),
        ("sub/deep/c.webp", "sub/deep/c"),
    ]


def test_results_of_an_earlier_run_are_not_images(tmp_path):
    for name in ("a.jpg", "a.panoptic.png", "a.overlay.png", "._a.jpg"):
        _write(tmp_path / name, format="PNG")
    assert _find(tmp_path) == [("a.jpg", "a")]


def test_other_files_are_counted_and_named(tmp_path):
    _write(tmp_path / "a.jpg")
    names = ["b.svg", "sub/c.json", *(f"{n}.txt" for n in range(5))]
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("no image")
    (tmp_path / ".hidden").write_text("")
    warnings = []
    image_files.find_images([tmp_path], warn=warnings.append)
    assert warnings == [
        "7 files were passed over, of no kind that is read here: 0.txt, "
        "1.txt, 2.txt, 3.txt, 4.txt and 2 more."
    ]
    (tmp_path / "a.jpg").unlink()
    with pytest.raises(errors.DataError, match="7 files were passed over"):
        image_files.find_images([tmp_path])


def test_photos_that_cannot_be_read_here_are_named_with_the_remedy(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        image_decoding, "can_read", lambda suffix: suffix != ".heic"
    )
    _write(tmp_path / "a.jpg")
    (tmp_path / "b.HEIC").write_bytes(b"")
    with pytest.warns(UserWarning, match=r"1 file was .*b\.HEIC.*pillow-heif"):
        assert _find(tmp_path) == [("a.jpg", "a")]


def test_images_of_several_folders_keep_them_apart(tmp_path):
    for name in ("north/1.jpg", "south/1.jpg", "south/2.jpg"):
        _write(tmp_path / name)
    expected = [
        ("north/1.jpg", "north/1"),
        ("south/1.jpg", "south/1"),
        ("south/2.jpg", "south/2"),
    ]
    assert _find(tmp_path) == expected
    assert _find(tmp_path / "north", tmp_path / "south") == expected
    files = [tmp_path / name for name, _ in expected]
    assert _find(*files) == expected
    assert _find(files[0], files[2]) == [("1.jpg", "1"), ("2.jpg", "2")]
    assert _find(tmp_path / "south", files[1]) == [
        ("1.jpg", "1"),
        ("2.jpg", "2"),
    ]


def test_names_of_outputs_are_unique(tmp_path):
    for name in ("1.jpg", "1.png", "1-2.jpg", "sub/1.jpg"):
        _write(tmp_path / name)
    assert _find(tmp_path) == [
        ("1-2.jpg", "1-2"),
        ("1.jpg", "1"),
        ("1.png", "1-3"),
        ("sub/1.jpg", "sub/1"),
    ]
    assert image_files.name_uniquely(["a.jpg", "A.png"]) == ["a", "A-2"]


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
def test_sixteen_bits_are_refused(tmp_path, ending):
    pixels = (np.arange(35).reshape(5, 7) * 100).astype(np.uint16)
    path = _write(tmp_path / f"a.{ending}", pixels)
    with pytest.raises(errors.DataError, match=r"has more.*8 bits first"):
        image_files.load_image(path, _LIMIT)


def test_the_first_of_several_pages_is_read_with_a_warning(tmp_path):
    first, second = map(Image.fromarray, (_make_pixels(), _make_pixels(seed=1)))
    path = tmp_path / "a.tif"
    first.save(path, save_all=True, append_images=[second])
    with pytest.warns(UserWarning, match=r"a\.tif has 2 pages"):
        loaded = image_files.load_image(path, _LIMIT)
    np.testing.assert_array_equal(loaded, _make_pixels())


def test_a_wrong_extension_does_not_matter(tmp_path):
    path = _write(tmp_path / "a.jpg", format="PNG")
    np.testing.assert_array_equal(
        image_files.load_image(path, _LIMIT), _make_pixels()
    )


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
