# SPDX-License-Identifier: Apache-2.0
"""Both forms of `torch.save`: every layout, and what does not agree."""

import zipfile

import numpy as np
import pytest

from deeplab2_like.checkpoints.foreign import reading

_FORMS = ("zip", "legacy")
_DTYPES = [
    "bool",
    "uint8",
    "int8",
    "int16",
    "int32",
    "int64",
    "float16",
    "float32",
    "float64",
]


@pytest.mark.parametrize("form", _FORMS)
def test_tensors_of_every_type_are_read(form, tmp_path, torch_writer):
    rng = np.random.default_rng(3)
    values = {
        dtype: rng.integers(0, 2, (3, 4)).astype(dtype) for dtype in _DTYPES
    }
    tree = torch_writer.state(
        {key: torch_writer.whole(value) for key, value in values.items()}
    )
    path = torch_writer.write(form, tmp_path / "a.pth", tree)
    weights = reading.read_arrays(path)
    assert weights.form == f"torch {form}"
    assert list(weights.values) == list(values)
    for key, value in values.items():
        assert weights.values[key].dtype == value.dtype
        np.testing.assert_array_equal(weights.values[key], value)


@pytest.mark.parametrize("form", _FORMS)
def test_bfloat16_is_the_upper_half_of_float32(form, tmp_path, torch_writer):
    values = np.array(
        [0.0, -0.0, 1.0, -1.5, 3.0e38, 1e-40, np.inf, np.nan], np.float32
    )
    upper = (values.view(np.uint32) >> 16).astype(np.uint16)
    tree = {"a": torch_writer.whole(upper, "bfloat16")}
    path = torch_writer.write(form, tmp_path / "a.pth", tree)
    actual = reading.read_arrays(path).values["a"]
    assert actual.dtype == np.float32
    expected = (upper.astype(np.uint32) << 16).view(np.float32)
    np.testing.assert_array_equal(
        actual.view(np.uint32), expected.view(np.uint32)
    )


@pytest.mark.parametrize("form", _FORMS)
def test_views_of_one_storage_share_its_memory(form, tmp_path, torch_writer):
    values = np.arange(24, dtype=np.float32)
    storage = torch_writer.storage(values)
    tensor = torch_writer.tensor
    tree = {
        "whole": tensor(storage, (6, 4), (4, 1)),
        "transposed": tensor(storage, (4, 6), (1, 4)),
        "part": tensor(storage, (3, 2), (4, 1), 9),
        "last": tensor(storage, (), (), 23),
        "repeated": tensor(storage, (2, 3), (0, 1), 20),
        "empty": tensor(storage, (0, 5), (5, 1), 24),
        "one": tensor(storage, (1, 2), (10**15, 1), 22),
        "parameter": torch_writer.parameter(tensor(storage, (2,), (12,))),
    }
    path = torch_writer.write(form, tmp_path / "a.pth", tree)
    actual = reading.read_arrays(path).values
    square = values.reshape(6, 4)
    expected = {
        "whole": square,
        "transposed": square.T,
        "part": values[9:21].reshape(3, 4)[:, :2],
        "last": values[23],
        "repeated": np.stack([values[20:23]] * 2),
        "empty": np.zeros((0, 5), np.float32),
        "one": values[None, 22:24],
        "parameter": values[[0, 12]],
    }
    for key, value in expected.items():
        assert actual[key].shape == value.shape, key
        np.testing.assert_array_equal(actual[key], value, err_msg=key)
    assert np.shares_memory(actual["whole"], actual["part"])
    assert not any(value.flags.writeable for value in actual.values())


def test_elements_of_a_big_endian_machine_are_swapped(tmp_path, torch_writer):
    values = np.array([1.0, -2.5, 3e10], np.float32)
    tree = {"a": torch_writer.whole(values.astype(">f4"), "float32")}
    path = torch_writer.write_zip(tmp_path / "a.pth", tree, order=b"big")
    np.testing.assert_array_equal(reading.read_arrays(path).values["a"], values)


def test_files_of_older_versions_have_no_byte_order(tmp_path, torch_writer):
    tree = {"a": torch_writer.whole(np.arange(3.0))}
    path = torch_writer.write_zip(
        tmp_path / "a.pth", tree, order=None, folder="épreuve 1"
    )
    np.testing.assert_array_equal(
        reading.read_arrays(path).values["a"], np.arange(3.0)
    )


def test_only_storages_of_weights_are_read(tmp_path, torch_writer):
    """An optimizer takes no memory, and does not matter if it is damaged."""
    tree = {
        "model": {"a": torch_writer.whole(np.arange(3.0))},
        "optimizer": {"a": torch_writer.whole(np.zeros(5))},
    }
    path = torch_writer.write_zip(
        tmp_path / "a.pth", tree, records={"data/1": b"short"}
    )
    weights = reading.read_arrays(path)
    assert list(weights.values) == ["a"]
    assert weights.left_out == {"optimizer": "a dictionary"}


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (((2, 4), (4, 1), 0), "(2, 4) ends 2 elements beyond its storage of 6"),
        (((6,), (1,), 1), "ends 1 elements beyond its storage of 6"),
        (((0,), (1,), 7), "ends 1 elements beyond its storage of 6"),
        (((2,), (2**62,), 0), "beyond its storage of 6"),
        (((2**24, 2), (0, 0), 0), "is too large for the 6 elements"),
        (((0, 2**62), (1, 1), 0), "is too large for the 6 elements"),
        (((6,), (-1,), 5), "strides are not one number for each dimension"),
        (((6,), (1, 1), 0), "strides are not one number for each dimension"),
        (((6,), (1,), -1), "its offset is not a number of elements"),
        (((6,), (1,), 2**70), "its offset is not a number of elements"),
        (((-6,), (1,), 0), "its shape is not made of numbers from 0 on"),
        ((6, 1, 0), "its shape is not made of numbers from 0 on"),
        (((1,) * 40, (1,) * 40, 0), "it has 40 dimensions"),
    ],
)
def test_a_view_outside_of_its_storage_is_refused(
    form, arguments, sentence, tmp_path, torch_writer, read_error
):
    storage = torch_writer.storage(np.zeros(6, np.float32))
    tree = {"layer.weight": torch_writer.tensor(storage, *arguments)}
    message = read_error(torch_writer.write(form, tmp_path / "a.pth", tree))
    assert "the array 'layer.weight' cannot be made, it" in message
    assert sentence in message


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"records": {"data/0": None}}, "it has no record 'data/0'"),
        (
            {"records": {"data/0": b"123"}},
            "'data/0' has 3 bytes in place of 24",
        ),
        ({"records": {"data.pkl": None}}, "without a record data.pkl"),
        ({"records": {"constants.pkl": b"N."}}, "is a TorchScript program"),
        ({"records": {"data.pkl": b"\x80\x02"}}, "it ends 1 bytes too early"),
        ({"order": b"middle"}, "its byteorder is neither"),
        ({"compression": zipfile.ZIP_DEFLATED}, "compressed"),
        ({"folder": "a/b"}, "without a record data.pkl in one folder"),
    ],
)
def test_a_zip_file_that_does_not_agree_is_refused(
    options, sentence, tmp_path, torch_writer, read_error
):
    tree = {"a": torch_writer.whole(np.zeros(6, np.float32))}
    path = torch_writer.write_zip(tmp_path / "a.pth", tree, **options)
    assert sentence in read_error(path)


def test_a_compressed_record_is_refused_before_it_is_unpacked(
    tmp_path, torch_writer, read_error
):
    """A small file that unpacks to 100 MB."""
    values = np.zeros(25_000_000, np.float32)
    path = torch_writer.write_zip(
        tmp_path / "a.pth",
        {"a": torch_writer.whole(values)},
        compression=zipfile.ZIP_DEFLATED,
    )
    assert path.stat().st_size < 1_000_000
    assert "its records are larger than the file" in read_error(path)


def test_records_that_are_damaged_are_noticed(
    tmp_path, torch_writer, read_error, memory_limit
):
    values = np.arange(100, dtype=np.float32)
    path = tmp_path / "a.pth"
    torch_writer.write_zip(path, {"a": torch_writer.whole(values)})
    data = path.read_bytes()
    place = data.index(values.tobytes()) + 50
    path.write_bytes(data[:place] + b"\xff" + data[place + 1 :])
    assert "'data/0' cannot be read (\"Bad CRC-32" in read_error(path)
    directory = data.index(b"PK\x01\x02")
    record = data.index(b"archive/data/0", directory) - 46
    size = record + 20  # The stored size, before the size itself.
    changed = data[:size] + b"\xff\xff\xff\x7f" + data[size + 4 :]
    path.write_bytes(changed)
    with memory_limit():
        assert "its record 'data/0' has two sizes" in read_error(path)
    path.write_bytes(data[:-30])
    assert "is no whole zip file" in read_error(path)
    path.write_bytes(data.replace(b"archive/data/0", b"archive/data/1"))
    assert "it has no record 'data/0'" in read_error(path)
    path.write_bytes(data.replace(b"archive/version", b"archive/data/0\0"))
    assert "two records of one name" in read_error(path)


def test_two_storages_of_one_key_are_refused(
    tmp_path, torch_writer, read_error
):
    tree = {
        "a": torch_writer.tensor(
            torch_writer.storage(np.zeros(6), key="0"), (6,), (1,)
        ),
        "b": torch_writer.tensor(
            torch_writer.storage(np.zeros(6, np.int64), key="0"), (6,), (1,)
        ),
    }
    for form in _FORMS:
        path = torch_writer.write(form, tmp_path / f"{form}.pth", tree)
        assert "its storage '0' has two types or sizes" in read_error(path)


def test_a_storage_that_is_part_of_another_one_is_refused(
    tmp_path, torch_writer, read_error
):
    storage = torch_writer.storage(np.zeros(6), view=("0", 2, 3))
    tree = {"a": torch_writer.tensor(storage, (3,), (1,))}
    path = torch_writer.write_legacy(tmp_path / "a.pth", tree)
    assert "has a storage '0' that is a part of another" in read_error(path)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"version": 1002}, "its version is 1002 in place of 1001"),
        ({"version": "x"}, "its version is 'x' in place of 1001"),
        ({"keys": {}}, "it lists no storages"),
        ({"keys": []}, "it does not list the storage '0'"),
        ({"keys": ["0", "7"]}, "it lists a storage '7' that no tensor has"),
        ({"keys": [0]}, "it lists a storage 0 that no tensor has"),
        ({"keys": ["0", "0"]}, "it lists the storage '0' twice"),
        ({"sizes": {"0": 5}}, "'0' has 5 elements in place of 6"),
        ({"sizes": {"0": -1}}, "'0' has -1 elements in place of 6"),
        ({"sizes": {"0": 2**60}}, "elements in place of 6"),
    ],
)
def test_a_legacy_file_that_does_not_agree_is_refused(
    options, sentence, tmp_path, torch_writer, read_error
):
    tree = {"a": torch_writer.whole(np.zeros(6, np.float32))}
    path = torch_writer.write_legacy(tmp_path / "a.pth", tree, **options)
    assert sentence in read_error(path)


def test_every_truncation_is_refused(tmp_path, torch_writer, read_error):
    tree = {"a": torch_writer.whole(np.arange(6, dtype=np.float32))}
    for form in _FORMS:
        whole = torch_writer.write(form, tmp_path / "whole.pth", tree)
        data = whole.read_bytes()
        assert list(reading.read_arrays(whole).values) == ["a"]
        path = tmp_path / "a.pth"
        lengths = {*range(0, len(data), 5), *range(len(data) - 50, len(data))}
        for length in sorted(lengths):
            path.write_bytes(data[:length])
            read_error(path)


@pytest.mark.parametrize("form", _FORMS)
def test_a_storage_takes_no_memory_before_its_size_is_known(
    form, tmp_path, torch_writer, read_error, memory_limit
):
    """The file claims 4 TiB, in the pickle and where the storage lies."""
    storage = torch_writer.storage(np.zeros(6, np.float32), size=2**40)
    tree = {"a": torch_writer.tensor(storage, (2**40,), (1,))}
    path = torch_writer.write(form, tmp_path / "a.pth", tree)
    with memory_limit():
        message = read_error(path)
    places = {
        "zip": "has 24 bytes in place of 4398046511104",
        "legacy": "it ends 4398046511080 bytes too early",
    }
    assert places[form] in message
