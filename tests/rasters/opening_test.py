# SPDX-License-Identifier: Apache-2.0
"""Images are read in windows as they were written, of all kinds of files."""

import contextlib

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.rasters import chunked_image, chunks, opening, tiff_planes

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra large_images)"
)
zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra large_images)"
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


def _to_bytes(values):
    low, high = float(values.min()), float(values.max())
    return np.floor(
        (values.astype(np.float64) - low) * 255 / (high - low) + 0.5
    ).astype(np.uint8)


def _check_windows(image, expected):
    """Compares windows at all borders, and the whole, with the array."""
    height, width = expected.shape[:2]
    assert (image.height, image.width) == (height, width)
    for box in [
        (0, 0, height, width),
        (0, 0, 1, 1),
        (height - 1, width - 1, height, width),
        (31, 47, 65, 97),
        (10, 3, 140, 200),
    ]:
        found = image.read(*box)
        assert found.damaged == ()
        assert found.image.dtype == np.uint8
        part = expected[box[0] : box[2], box[1] : box[3]]
        difference = np.abs(found.image.astype(int) - part)
        # Floats of 32 and of 64 bits round a few values to different sides.
        assert difference.max() <= (image.value_range is not None)
        assert (difference != 0).mean() < 0.01
    assert image.problems == []


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
def test_colors_of_tiff_files_are_read(tmp_path, name, options):
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
        _check_windows(image, _RGB)
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
    tmp_path, name, values, options
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
        expected = _to_bytes(np.moveaxis(planes, 0, -1))
        _check_windows(image, np.broadcast_to(expected, (150, 203, 3)))
        assert image.value_range == (values.min(), values.max())
    assert len(log) == 1
    assert "--value_range" in log[0]


def test_a_range_is_taken_as_given_and_saves_reading_the_file(tmp_path):
    path = tmp_path / "gray.tif"
    tifffile.imwrite(path, _DEEP, tile=(32, 48))
    log = []
    with opening.open_large(
        path, value_range=(1000, 2000), log=log.append
    ) as image:
        found = image.read(0, 0, 150, 203).image[..., 0]
    assert not log
    assert (found[_DEEP <= 1000] == 0).all()
    assert (found[_DEEP >= 2000] == 255).all()
    assert found[_DEEP == 1500].tolist() == [128] * (_DEEP == 1500).sum()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("axes", ["yx", "yxc", "cyx", "tczyx", "xy"])
def test_zarr_arrays_are_read_by_the_names_of_their_axes(
    tmp_path, axes, zarr_format
):
    path = tmp_path / "image.zarr"
    base = "yxc" if "c" in axes else "yx"
    values = _RGB if "c" in axes else _RGB[..., 0]
    order = [base.index(name) for name in axes if name in base]
    stored = values.transpose(order)
    for place, name in enumerate(axes):
        if name not in base:
            stored = np.expand_dims(stored, place)
    group = zarr.open_group(str(path), mode="w", zarr_format=zarr_format)
    for level, array in enumerate([stored[..., ::2], stored]):
        chunks = tuple(min(n, 40) for n in array.shape)
        group.create_array(
            str(level), shape=array.shape, chunks=chunks, dtype=array.dtype
        )[:] = array
    entry = {
        "axes": [{"name": name} for name in axes],
        "datasets": [{"path": "0"}, {"path": "1"}],
    }
    content = {"multiscales": [entry]}
    group.attrs.update(content if zarr_format == 2 else {"ome": content})
    expected = values if values.ndim == 3 else np.stack([values] * 3, -1)
    with opening.open_large(path) as image:
        _check_windows(image, expected)


@pytest.mark.parametrize(
    "stored", [_RGB, np.moveaxis(_RGB, -1, 0), _RGB[np.newaxis, ..., 0]]
)
def test_zarr_arrays_without_names_are_read(tmp_path, stored):
    path = tmp_path / "image.zarr"
    zarr.create_array(
        store=str(path), shape=stored.shape, dtype="uint8", shards=None
    )[:] = stored
    expected = _RGB if stored.size == _RGB.size else _RGB[..., :1]
    with opening.open_large(path) as image:
        _check_windows(image, np.broadcast_to(expected, _RGB.shape))


@pytest.mark.parametrize("name", ["a.png", "a.bmp"])
def test_plain_images_are_read_as_without_tiles(tmp_path, name):
    Image.fromarray(_RGB).save(tmp_path / name)
    with opening.open_large(tmp_path / name) as image:
        _check_windows(image, _RGB)


def test_a_png_of_16_bits_is_read_with_all_of_them(tmp_path):
    Image.fromarray(_DEEP).save(tmp_path / "deep.png")
    with opening.open_large(tmp_path / "deep.png") as image:
        expected = np.stack([_to_bytes(_DEEP)] * 3, -1)
        _check_windows(image, expected)
        assert image.value_range == (_DEEP.min(), _DEEP.max())


@pytest.mark.parametrize(
    ("count", "channels", "expected"),
    [
        (1, None, (0, 0, 0)),
        (2, None, (0, 1, 1)),
        (3, None, (0, 1, 2)),
        (4, None, (0, 1, 2)),
        (4, [4, 3, 2], (3, 2, 1)),
        (13, [8, 4, 3], (7, 3, 2)),
        (3, [2], (1, 1, 1)),
    ],
)
def test_channels_become_colors_by_a_stated_rule(
    tmp_path, count, channels, expected
):
    values = _RANDOM.integers(0, 256, (40, 50, count), dtype=np.uint8)
    for name in ("a.zarr", "a.tif"):
        path = tmp_path / name
        if name == "a.zarr":
            array = zarr.create_array(
                store=str(path),
                shape=values.shape,
                dtype="uint8",
                dimension_names=["y", "x", "c"],
            )
            array[:] = values
        else:
            tifffile.imwrite(
                path,
                values if count > 1 else values[..., 0],
                photometric="minisblack",
                planarconfig="contig" if count > 1 else None,
                extrasamples=["unspecified"] * (count - 1),
            )
        with opening.open_large(path, channels=channels) as image:
            found = image.read(0, 0, 40, 50).image
        np.testing.assert_array_equal(found, values[..., list(expected)])


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


def test_pixels_that_are_no_numbers_are_void(tmp_path):
    values = _DEEP.astype(np.float32)
    values[20:30, 40:60] = np.nan
    tifffile.imwrite(tmp_path / "a.tif", values)
    with opening.open_large(tmp_path / "a.tif") as image:
        found = image.read(0, 0, 150, 203)
    np.testing.assert_array_equal(found.void, np.isnan(values))


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


def test_the_largest_level_of_a_pyramid_is_read(tmp_path):
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(_RGB, subifds=1, **_TILED)
        writer.write(_RGB[::2, ::2], subfiletype=1, **_TILED)
    with opening.open_large(path) as image:
        _check_windows(image, _RGB)


def test_only_the_tiles_of_a_window_are_decoded(tmp_path, monkeypatch):
    path = tmp_path / "tiled.tif"
    tifffile.imwrite(path, _RGB, compression="zlib", **_TILED)
    decoded = []
    original = tiff_planes.PagePlane.read

    def count(self, box, samples):
        decoded.append(tuple(box))
        return original(self, box, samples)

    monkeypatch.setattr(tiff_planes.PagePlane, "read", count)
    with opening.open_large(path) as image:
        image.read(33, 50, 60, 90)
        assert decoded == [(32, 48, 64, 96)]
        image.read(33, 50, 60, 97)
        assert decoded[1:] == [(32, 96, 64, 144)]


def test_memory_of_decoded_chunks_is_bounded(tmp_path):
    path = tmp_path / "tiled.tif"
    tifffile.imwrite(path, _RGB, compression="zlib", **_TILED)
    limit = 3 * 32 * 48 * 3
    with opening.open_large(path, cache_bytes=limit) as image:
        image.read(0, 0, 150, 203)
        kept = image._cache.sizes
        assert 0 < sum(kept) <= limit


def test_a_huge_strip_is_read_by_rows_or_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tiff_planes, "_ROW_BYTES", 10 * 203 * 3)
    monkeypatch.setattr(chunks, "MAX_CHUNK_BYTES", 50_000)
    options = {"photometric": "rgb", "rowsperstrip": 150}
    tifffile.imwrite(tmp_path / "plain.tif", _RGB, **options)
    with opening.open_large(tmp_path / "plain.tif") as image:
        _check_windows(image, _RGB)
        assert max(image._cache.sizes) == 10 * 203 * 3
    tifffile.imwrite(tmp_path / "zlib.tif", _RGB, compression="zlib", **options)
    with pytest.raises(errors.DataError, match="pieces of 150 x 203 pixels"):
        opening.open_large(tmp_path / "zlib.tif")
    zarr.create_array(
        store=str(tmp_path / "a.zarr"),
        shape=_RGB.shape,
        chunks=_RGB.shape,
        dtype="uint8",
    )
    with pytest.raises(errors.DataError, match="Save it in tiles"):
        opening.open_large(tmp_path / "a.zarr")


def _damage(path, page_number=0, tile=5):
    """Overwrites a tile of a TIFF file; returns its box."""
    with tifffile.TiffFile(path) as file:
        page = file.pages[page_number]
        offset, count = page.dataoffsets[tile], page.databytecounts[tile]
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(b"\xff" * count)


def test_a_damaged_tile_is_named_and_has_no_pixels(tmp_path):
    path = tmp_path / "damaged.tif"
    tifffile.imwrite(path, _RGB, compression="zlib", **_TILED)
    _damage(path)  # The first of the second row, of five in a row.
    with opening.open_large(path) as image:
        found = image.read(30, 3, 100, 203)
        again = image.read(0, 0, 40, 50)
        assert len(image.problems) == 1
        problem = image.problems[0]
    assert found.damaged == ((32, 3, 64, 48),)
    assert again.damaged == ((32, 0, 40, 48),)
    assert "damaged.tif, rows 32 to 63, columns 0 to 47" in problem
    expected = _RGB.copy()
    expected[32:64, :48] = 0
    np.testing.assert_array_equal(found.image, expected[30:100, 3:203])


def test_a_damaged_chunk_of_zarr_is_named(tmp_path):
    path = tmp_path / "damaged.zarr"
    array = zarr.create_array(
        store=str(path), shape=_RGB.shape, chunks=(50, 70, 3), dtype="uint8"
    )
    array[:] = _RGB
    (path / "c" / "1" / "2" / "0").write_bytes(b"no chunk")
    with opening.open_large(path) as image:
        found = image.read(0, 0, 150, 203)
        assert found.damaged == ((50, 140, 100, 203),)
        assert "damaged.zarr, rows 50 to 99" in image.problems[0]


def test_values_of_damaged_tiles_do_not_count_for_the_range(tmp_path):
    values = np.full((64, 96), 100, np.uint16)
    values[32:, :48] = 60000
    values[0, 0] = 0
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, values, compression="zlib", tile=(32, 48))
    _damage(path, tile=2)
    with opening.open_large(path) as image:
        assert image.value_range == (0, 100)
        assert len(image.problems) == 1
        image.read(0, 0, 64, 96)
        assert len(image.problems) == 1


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


def _write_stack(path):
    tifffile.imwrite(path, _CHANNELS, metadata={"axes": "ZYX"}, ome=True)


def _write_turned(path):
    tifffile.imwrite(
        path, _RGB, photometric="rgb", extratags=[(274, "H", 1, 6, True)]
    )


def _write_complex(path):
    tifffile.imwrite(path, _DEEP.astype(np.complex64))


def _write_cmyk(path):
    tifffile.imwrite(
        path, np.dstack([_RGB, _RGB[..., :1]]), photometric="separated"
    )


def _write_lying(path):
    """Claims a width of which no tiles are listed."""
    tifffile.imwrite(path, _RGB, **_TILED)
    with tifffile.TiffFile(path) as file:
        offset = file.pages[0].tags["ImageWidth"].valueoffset
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write((65000).to_bytes(2, "little"))


def _write_cut_tags(path):
    with tifffile.TiffWriter(path) as writer:
        writer.write(_RGB, **_TILED)
    data = path.read_bytes()
    path.write_bytes(data[:100])


@pytest.mark.parametrize(
    ("name", "write", "text"),
    [
        ("missing.tif", lambda _: None, "does not exist"),
        ("empty.tif", lambda p: p.write_bytes(b""), "is empty"),
        ("text.tif", lambda p: p.write_text("hello"), "text.tif"),
        ("magic.tif", lambda p: p.write_bytes(b"II*\0"), "cut off or damaged"),
        ("tags.tif", _write_cut_tags, "cut off or damaged"),
        ("stack.ome.tif", _write_stack, "holds several images"),
        ("turned.tif", _write_turned, "tag Orientation is 6"),
        ("complex.tif", _write_complex, "type complex64"),
        ("cmyk.tif", _write_cmyk, "color space SEPARATED"),
        ("lying.tif", _write_lying, "cannot be read as a TIFF file"),
        ("folder", lambda p: p.mkdir(), "ends in .zarr"),
        ("empty.zarr", lambda p: p.mkdir(), "cannot be read as a Zarr"),
    ],
)
def test_what_is_no_large_image_is_refused_in_one_sentence(
    tmp_path, name, write, text
):
    write(tmp_path / name)
    with pytest.raises(errors.DataError, match=text) as caught:
        opening.open_large(tmp_path / name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("channels", [[], [1, 2], [0, 1, 2], [1, 2, 3, 4]])
def test_channels_are_one_or_three_numbers_from_one(tmp_path, channels):
    with pytest.raises(errors.ConfigError, match="--channels"):
        opening.open_large(tmp_path / "any.tif", channels=channels)


def test_channels_that_are_not_there_are_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _RGB, photometric="rgb")
    with pytest.raises(errors.DataError, match="asks for number 4"):
        opening.open_large(tmp_path / "a.tif", channels=[4, 3, 2])
    zarr.create_array(
        store=str(tmp_path / "a.zarr"),
        shape=(13, 40, 50),
        dtype="uint8",
        dimension_names=["c", "y", "x"],
    )
    with pytest.raises(errors.DataError, match="has 13 channels"):
        opening.open_large(tmp_path / "a.zarr")


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


def test_a_source_states_the_version_of_a_file_or_folder(tmp_path):
    path = tmp_path / "a.zarr"
    array = zarr.create_array(store=str(path), shape=(9, 9), dtype="uint8")
    with opening.open_large(path) as image:
        before = image.describe()
        array[:] = 7
        assert image.describe() != before
        assert before.path == str(path)


def test_the_image_is_the_same_by_threads_with_a_small_cache(tmp_path):
    import concurrent.futures

    path = tmp_path / "tiled.tif"
    tifffile.imwrite(path, _RGB, compression="zlib", **_TILED)
    boxes = [(n, 2 * n, n + 60, 2 * n + 60) for n in range(70)]
    with (
        opening.open_large(path, cache_bytes=1) as image,
        concurrent.futures.ThreadPoolExecutor(4) as pool,
    ):
        for box, found in zip(
            boxes, pool.map(lambda b: image.read(*b), boxes), strict=True
        ):
            part = _RGB[box[0] : box[2], box[1] : box[3]]
            np.testing.assert_array_equal(found.image, part)


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


def test_the_cache_is_of_the_stated_size():
    assert chunked_image.CACHE_BYTES == 2**28
