# SPDX-License-Identifier: Apache-2.0
import importlib.util
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.storage import volumes

tifffile = pytest.importorskip(
    "tifffile", reason="tifffile is not installed (extra stacks)"
)
zarr = pytest.importorskip(
    "zarr", reason="zarr is not installed (extra stacks)"
)

_GRAY = (
    np.random.default_rng(0).integers(0, 60000, (5, 20, 30)).astype("uint16")
)
_RGB = np.repeat(_GRAY[..., np.newaxis] >> 8, 3, axis=-1).astype("uint8")


def _write_tiff(path, values, **options):
    tifffile.imwrite(path, values, **options)


def _write_zarr(path, values):
    zarr.create_array(store=str(path), shape=values.shape, dtype=values.dtype)[
        :
    ] = values


def _write_ome_zarr(path, values):
    group = zarr.open_group(str(path), mode="w")
    group.create_array("full", shape=values.shape, dtype=values.dtype)[:] = (
        values
    )
    group.attrs["ome"] = {"multiscales": [{"datasets": [{"path": "full"}]}]}


@pytest.mark.parametrize(
    ("name", "write", "options", "values"),
    [
        ("a.tif", _write_tiff, {"photometric": "minisblack"}, _GRAY),
        ("imagej.tif", _write_tiff, {"imagej": True}, _GRAY),
        ("rgb.tiff", _write_tiff, {"photometric": "rgb"}, _RGB),
        (
            "a.ome.tif",
            _write_tiff,
            {"compression": "zlib", "metadata": {"axes": "ZYX"}},
            _GRAY,
        ),
        ("a.zarr", _write_zarr, {}, _GRAY),
        ("leading.zarr", _write_zarr, {}, _GRAY[np.newaxis, np.newaxis]),
        ("rgb.zarr", _write_zarr, {}, _RGB),
        ("ome.zarr", _write_ome_zarr, {}, _GRAY),
    ],
)
def test_slices_are_read_as_they_were_written(
    tmp_path, name, write, options, values
):
    path = tmp_path / name
    write(path, values, **options)
    assert volumes.is_stack(path)
    expected = values.reshape(
        values.shape[-4:] if "rgb" in name else (5, 20, 30)
    )
    with volumes.open_volume(path) as volume:
        assert volume.shape == (5, 20, 30)
        assert volume.channels == (3 if "rgb" in name else 1)
        assert volume.dtype == values.dtype
        for number in range(5):
            found = volume.read(number)
            np.testing.assert_array_equal(found, expected[number])


@pytest.mark.parametrize("values", [_GRAY[0], _RGB[0]])
def test_a_tiff_file_with_one_page_is_no_stack(tmp_path, values):
    path = tmp_path / "a.tif"
    photometric = "rgb" if values.ndim == 3 else "minisblack"
    tifffile.imwrite(path, values, photometric=photometric)
    assert not volumes.is_stack(path)
    assert not volumes.is_stack(tmp_path / "missing.tif")


@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
def test_label_volumes_are_read_back_with_ids_of_32_bits(tmp_path, name):
    labels = _GRAY.astype(np.uint32) * 70_000
    volumes.write_labels(tmp_path / name, iter(labels), labels.shape)
    with volumes.open_volume(tmp_path / name) as volume:
        assert volume.dtype == np.uint32
        found = np.stack([volume.read(number) for number in range(5)])
    np.testing.assert_array_equal(found, labels)


@pytest.mark.parametrize("name", ["labels.tif", "labels.zarr"])
def test_a_label_volume_appears_whole_or_not_at_all(tmp_path, name):
    def fail():
        yield _GRAY[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        volumes.write_labels(tmp_path / name, fail(), _GRAY.shape)
    assert not list(tmp_path.iterdir())


def test_what_is_no_stack_is_one_sentence(tmp_path):
    (tmp_path / "a.tif").write_bytes(b"II*\0" + bytes(50))
    (tmp_path / "a.zarr").mkdir()
    tifffile.imwrite(
        tmp_path / "t.tif",
        np.zeros((2, 3, 4, 20, 30), np.uint8),
        metadata={"axes": "TCZYX"},
        ome=True,
    )
    for name in ("a.tif", "a.zarr", "t.tif"):
        with pytest.raises(errors.DataError) as raised:
            volumes.open_volume(tmp_path / name)
        assert len(str(raised.value).splitlines()) == 1


def test_without_the_packages_the_error_says_what_to_install(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", _GRAY)
    code = (
        "import sys\n"
        "sys.modules['tifffile'] = sys.modules['zarr'] = None\n"
        "from deeplab2_like import errors\n"
        "from deeplab2_like.storage import volumes\n"
        "for name in sys.argv[1:]:\n"
        "    try:\n"
        "        volumes.open_volume(name)\n"
        "    except errors.InstallError as error:\n"
        "        print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path / "a.tif", tmp_path / "a.zarr"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.count("pip install 'deeplab2-like[stacks]'") == 2


def test_compressed_pages_name_the_package_that_they_need(tmp_path):
    pages = [Image.fromarray(np.full((4, 6), n, np.uint8)) for n in range(3)]
    path = tmp_path / "cells.tif"
    pages[0].save(
        path, save_all=True, append_images=pages[1:], compression="tiff_lzw"
    )
    with volumes.open_volume(path) as volume:
        if importlib.util.find_spec("imagecodecs") is not None:
            assert (volume.read(2) == 2).all()
            return
        with pytest.raises(
            errors.InstallError, match="pip install imagecodecs"
        ):
            volume.read(2)
