# SPDX-License-Identifier: Apache-2.0
"""TIFF files are read in windows as they were written, of all kinds."""

import contextlib

import numpy as np
import pytest

from deeplab2_like import errors
from deeplab2_like.rasters import opening

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)

_RANDOM = np.random.default_rng(0)
_RGB = _RANDOM.integers(0, 256, (150, 203, 3), dtype=np.uint8)
_DEEP = _RANDOM.integers(0, 5000, (150, 203), dtype=np.uint16)
_CHANNELS = _RANDOM.integers(0, 5000, (3, 150, 203), dtype=np.uint16)
_TILED = {"tile": (32, 48), "photometric": "rgb"}


def _needs_codecs():
    pytest.importorskip(
        "imagecodecs", reason="imagecodecs is not installed (large_images)"
    )


def _split_options(options):
    """Takes out the options of the whole file."""
    names = ("bigtiff", "byteorder", "imagej")
    return {name: options.pop(name) for name in names if name in options}


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("tiled.tif", _TILED),
        ("zlib.tif", {**_TILED, "compression": "zlib", "predictor": True}),
        ("big.btf", {**_TILED, "bigtiff": True}),
        ("apart.tif", {**_TILED, "planarconfig": "separate"}),
        ("strips.tif", {"rowsperstrip": 7, "compression": "zlib"}),
        ("plain.tif", {"rowsperstrip": 7}),
        ("motorola.tif", {"byteorder": ">"}),
        ("one_strip.tif", {"rowsperstrip": 150, "compression": "packbits"}),
        ("lzw.tif", {**_TILED, "compression": "lzw"}),
        ("ome.ome.tif", _TILED),
    ],
)
def test_colors_of_tiff_files_are_read(check_windows, tmp_path, name, options):
    options = dict(options)
    values, path = _RGB, tmp_path / name
    if options.get("compression") in ("lzw", "packbits") or options.get(
        "predictor"
    ):
        _needs_codecs()
    if options.get("planarconfig") == "separate":
        values = np.moveaxis(_RGB, -1, 0)
    writer = _split_options(options)
    options.setdefault("photometric", "rgb")
    tifffile.imwrite(path, values, **writer, **options)
    with opening.open_large(path) as image:
        check_windows(image, _RGB)
        assert image.value_range is None


@pytest.mark.parametrize(
    ("name", "values", "options"),
    [
        ("gray.tif", _DEEP, {"tile": (32, 48)}),
        ("motorola.tif", _DEEP, {"byteorder": ">"}),
        ("float.tif", _DEEP.astype(np.float32) / 5000, {"tile": (32, 48)}),
        ("signed.tif", _DEEP.astype(np.int32) - 2500, {}),
        ("channels.ome.tif", _CHANNELS, {"metadata": {"axes": "CYX"}}),
        (
            "imagej.tif",
            _CHANNELS[np.newaxis, np.newaxis],
            {"imagej": True, "metadata": {"axes": "TZCYX"}},
        ),
    ],
)
def test_other_types_are_taken_from_their_least_to_their_largest_value(
    to_bytes, check_windows, tmp_path, name, values, options
):
    path, options = tmp_path / name, dict(options)
    writer = _split_options(options)
    tifffile.imwrite(
        path, values, **writer, photometric="minisblack", **options
    )
    log = []
    with opening.open_large(path, log=log.append) as image:
        planes = np.broadcast_to(values, (*values.shape[:-2], 150, 203))
        planes = planes.reshape(-1, 150, 203)
        expected = to_bytes(np.moveaxis(planes, 0, -1))
        check_windows(image, np.broadcast_to(expected, (150, 203, 3)))
        assert image.value_range == (values.min(), values.max())
    assert len(log) == 1
    assert "--value_range" in log[0]


def test_transparent_pixels_are_void(tmp_path):
    alpha = np.where(_RANDOM.random((150, 203)) < 0.3, 0, 200)
    values = np.dstack([_RGB, alpha]).astype(np.uint8)
    path = tmp_path / "alpha.tif"
    tifffile.imwrite(
        path,
        values,
        photometric="rgb",
        extrasamples=["unassalpha"],
        tile=(32, 48),
    )
    with opening.open_large(path) as image:
        found = image.read(5, 7, 150, 200)
        assert image.channels == (0, 1, 2)
    np.testing.assert_array_equal(found.void, alpha[5:150, 7:200] == 0)
    expected = np.where(alpha[..., None] == 0, 0, _RGB)
    np.testing.assert_array_equal(found.image, expected[5:150, 7:200])


def test_a_palette_and_white_as_zero_are_resolved(tmp_path):
    indices = _RANDOM.integers(0, 4, (40, 50), dtype=np.uint8)
    colors = np.zeros((3, 256), np.uint16)
    colors[:, :4] = _RANDOM.integers(0, 65536, (3, 4))
    tifffile.imwrite(
        tmp_path / "palette.tif",
        indices,
        photometric="palette",
        colormap=colors,
    )
    with opening.open_large(tmp_path / "palette.tif") as image:
        found = image.read(0, 0, 40, 50).image
    np.testing.assert_array_equal(found, (colors >> 8).T[indices])
    tifffile.imwrite(
        tmp_path / "white.tif", _RGB[..., 0], photometric="miniswhite"
    )
    with opening.open_large(tmp_path / "white.tif") as image:
        found = image.read(0, 0, 150, 203).image[..., 0]
    np.testing.assert_array_equal(found, 255 - _RGB[..., 0])


def test_the_largest_level_of_a_pyramid_is_read(check_windows, tmp_path):
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(_RGB, subifds=1, **_TILED)
        writer.write(_RGB[::2, ::2], subfiletype=1, **_TILED)
    with opening.open_large(path) as image:
        check_windows(image, _RGB)


@pytest.mark.parametrize("kept", [0.3, 0.6, 0.95])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_a_file_that_was_cut_off_is_read_as_far_as_it_goes(
    tmp_path, kept, compression
):
    path = tmp_path / "cut.tif"
    tifffile.imwrite(
        path, _RGB, photometric="rgb", rowsperstrip=8, compression=compression
    )
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data))])
    with opening.open_large(path) as image:
        found = image.read(0, 0, 150, 203)
        assert image.problems
    assert found.damaged
    is_damaged = np.zeros((150, 203), bool)
    for box in found.damaged:
        is_damaged[box.top : box.bottom, box.left : box.right] = True
    assert not found.image[is_damaged].any()
    np.testing.assert_array_equal(found.image[~is_damaged], _RGB[~is_damaged])


def test_tiles_that_a_file_leaves_out_are_void(tmp_path):
    path = tmp_path / "sparse.tif"

    def tiles():
        for number in range(25):
            yield None if number == 7 else np.full((32, 48, 3), 9, np.uint8)

    tifffile.imwrite(
        path,
        tiles(),
        shape=_RGB.shape,
        dtype="uint8",
        compression="zlib",
        **_TILED,
    )
    with opening.open_large(path) as image:
        found = image.read(0, 0, 150, 203)
        assert image.problems == []
    expected = np.zeros((150, 203), bool)
    expected[32:64, 96:144] = True
    np.testing.assert_array_equal(found.void, expected)


def test_random_damage_gives_pixels_or_one_sentence(tmp_path):
    """A file with flipped bytes is read, or refused by an error for users."""
    good = tmp_path / "good.tif"
    tifffile.imwrite(good, _RGB, compression="zlib", **_TILED)
    data = good.read_bytes()
    random = np.random.default_rng(1)
    path = tmp_path / "bad.tif"
    for _ in range(60):
        changed = bytearray(data)
        # The tags are at the beginning.
        for place in random.integers(4, 700, 3):
            changed[place] = random.integers(0, 256)
        path.write_bytes(changed)
        with (
            contextlib.suppress(errors.UserError),
            opening.open_large(path) as image,
        ):
            if image.height * image.width < 10**7:
                image.read(0, 0, image.height, image.width)


def test_jpeg_tiles_are_read_as_their_decoder_gives_them(tmp_path):
    _needs_codecs()
    smooth = np.dstack([np.add.outer(np.arange(150), np.arange(203)) % 256] * 3)
    path = tmp_path / "jpeg.tif"
    tifffile.imwrite(
        path,
        smooth.astype(np.uint8),
        photometric="rgb",
        compression="jpeg",
        tile=(32, 48),
    )
    with opening.open_large(path) as image:
        found = image.read(0, 0, 150, 203).image
    np.testing.assert_array_equal(found, tifffile.imread(path))
