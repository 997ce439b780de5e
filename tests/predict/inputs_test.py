# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import errors
from deeplab2_like.predict import inputs


@pytest.fixture(name="folder")
def _folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in (
        "photos/a.jpg",
        "photos/b.png",
        "photos/sub/c.png",
        "clips/a.MP4",
        "clips/a.overlay.mp4",
        "clips/b.mov",
        "val-00000-of-00002",
        "val-00001-of-00002",
        "train.tfrecord",
        "a [1].jpg",
    ):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"")
    return tmp_path


def _list(found):
    names = lambda files: [file.relative_path for file in files]  # noqa: E731
    return names(found.images), found.records, names(found.videos)


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["photos"], (["a.jpg", "b.png", "sub/c.png"], [], [])),
        (["photos/*.png"], (["b.png"], [], [])),
        (["photos/*/c.*"], (["c.png"], [], [])),
        (["a [1].jpg"], (["a [1].jpg"], [], [])),
        (["clips/*"], ([], [], ["a.MP4", "b.mov"])),
        (
            ["val-*", "train.tfrecord", "./train.tfrecord"],
            (
                [],
                ["val-00000-of-00002", "val-00001-of-00002", "train.tfrecord"],
                [],
            ),
        ),
        (
            ["clips/b.mov", "train.tfrecord", "photos/a.jpg"],
            (["a.jpg"], ["train.tfrecord"], ["b.mov"]),
        ),
    ],
)
def test_arguments_are_sorted_by_kind(arguments, expected):
    assert _list(inputs.find_inputs(arguments)) == expected


def test_images_and_videos_have_names_of_their_own(folder):
    (folder / "photos/b.jpg").write_bytes(b"")
    (folder / "photos/b.mp4").write_bytes(b"")
    found = inputs.find_inputs(["photos/b.*"])
    names = [file.name for file in (*found.images, *found.videos)]
    assert len({*names}) == 3


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("photos/*.gif", "matches no file"),
        ("nothing.mp4", "does not exist"),
        ("nothing.tfrecord", "does not exist"),
        ("gs://bucket/a.jpg", "deeplab2-predict-beam"),
        ("clips", "'clips/\\*.MP4'"),
    ],
)
def test_what_is_not_there_is_one_sentence(argument, message):
    with pytest.raises(errors.DataError, match=message):
        inputs.find_inputs([argument])


def test_videos_and_records_in_a_folder_are_named(folder):
    (folder / "photos/x.mp4").write_bytes(b"")
    said = []
    found = inputs.find_inputs(["photos"], warn=said.append)
    assert len(found.images) == 3
    assert "'photos/*.mp4'" in said[-1]


def test_a_list_has_a_path_in_each_line(folder):
    path = folder / "list.txt"
    path.write_text("\ufeffphotos/a.jpg\r\n\n a.png\n#b.png", encoding="utf-8")
    assert inputs.load_list(str(path)) == ["photos/a.jpg", " a.png", "#b.png"]


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe\0"])
def test_a_list_without_paths_is_one_sentence(tmp_path, content):
    path = tmp_path / "list.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(errors.DataError, match=r"The list .*list\.txt"):
        inputs.load_list(str(path))


@pytest.mark.usefixtures("folder")
def test_records_are_refused_where_frames_are_linked():
    with pytest.raises(errors.DataError, match="does not link") as raised:
        inputs.find_inputs(["photos", "train.tfrecord"], True)
    assert "train.tfrecord is a TFRecord file" in str(raised.value)


@pytest.mark.parametrize("is_stack", [True, False])
def test_zarr_folders_are_found_in_folders(folder, is_stack):
    for name in ("cells.zarr/0/c", "cells.labels.zarr", "deep/er/more.zarr"):
        (folder / "stacks" / name).mkdir(parents=True)
    (folder / "stacks/cells.zarr/0/c/no_image.png").touch()
    (folder / "photos/cells.zarr").mkdir()
    said = []
    found = inputs.find_inputs(
        ["stacks", "photos"],
        is_stack,
        with_large=not is_stack,
        warn=said.append,
    )
    files = found.stacks if is_stack else found.images
    images = found.images if is_stack else files[:3]
    zarrs = files if is_stack else files[3:]
    assert len(images) == 3
    assert [file.relative_path for file in zarrs] == [
        "cells.zarr",
        "deep/er/more.zarr",
        "cells.zarr",
    ]
    assert [file.name for file in zarrs] == ["cells", "deep/er/more", "cells-2"]
    assert not any("Zarr" in text for text in said)
    only = inputs.find_inputs(["stacks"], is_stack, with_large=not is_stack)
    assert len([*only.images, *only.stacks]) == 2


def test_zarr_folders_in_folders_are_named(folder):
    (folder / "photos/cells.zarr").mkdir()
    (folder / "stacks/cells.zarr").mkdir(parents=True)
    (folder / "stacks/cells.labels.zarr").mkdir()
    said = []
    found = inputs.find_inputs(["photos"], warn=said.append)
    assert len(found.images) == 3
    assert "Zarr folders" in said[-1]
    assert "'photos/*.zarr'" in said[-1]
    with pytest.raises(errors.DataError, match=r"'stacks/\*\.zarr'"):
        inputs.find_inputs(["stacks"])
    found = inputs.find_inputs(["stacks/*.zarr"], True)
    assert [file.name for file in found.stacks] == ["cells"]
