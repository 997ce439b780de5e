# SPDX-License-Identifier: Apache-2.0
import io
import json

import numpy as np
import pytest
from PIL import Image, ImageFilter

from deeplab2_like import errors
from deeplab2_like.labels import coco_format, coco_json, label_map
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import coco_panoptic
from deeplab2_like.results import coco_writer
from deeplab2_like.results.panoptic_result import PanopticResult


@pytest.fixture
def descriptor():
    return descriptor_lib.DatasetDescriptor(
        name="farm",
        num_classes=3,
        thing_ids=(1,),
        stuff_ids=(2,),
        ignore_label=0,
        label_divisor=1000,
        class_names=("void", "cow", "grass"),
        colors=((0, 0, 0), (200, 100, 0), (0, 200, 50)),
        category_ids=(0, 21, 193),
    )


def _make_result(seed, descriptor):
    rng = np.random.default_rng(seed)
    labels = np.full((20, 30), 2000)
    labels[:2] = 0
    for instance in range(1, 6):
        y, x = rng.integers(2, 20), rng.integers(0, 30)
        labels[y : y + 5, x : x + 7] = 1000 + instance
    return PanopticResult.from_label(labels, descriptor)


def test_ids_of_three_bytes_go_through_colours_and_back():
    ids = np.array([[0, 1, 255], [256, 65536 * 3 + 256 * 2 + 1, 2**24 - 1]])
    colors = coco_format.encode_ids(ids)
    assert colors.dtype == np.uint8
    assert colors.shape == (2, 3, 3)
    np.testing.assert_array_equal(colors[1, 1], [1, 2, 3])
    np.testing.assert_array_equal(coco_format.decode_ids(colors), ids)


def test_an_image_without_pixels_has_no_ids():
    assert coco_format.encode_ids(np.zeros((0, 4), int)).shape == (0, 4, 3)


@pytest.mark.parametrize("wrong", [2**24, -1])
def test_ids_that_need_more_bytes_are_refused(wrong):
    with pytest.raises(errors.DataError, match=str(wrong)):
        coco_format.encode_ids(np.array([[0, wrong]]))


def test_written_files_score_one_against_themselves(descriptor, tmp_path):
    with coco_writer.CocoPanopticWriter(tmp_path / "all", descriptor) as writer:
        for i in range(5):
            path = writer.add(_make_result(i, descriptor), f"{i:03d}.jpg", i)
            assert path.exists()
        assert not (tmp_path / "all.json").exists()
    assert writer.json_path == tmp_path / "all.json"
    result = coco_panoptic.compute_panoptic_quality(
        writer.json_path, writer.json_path
    )
    assert result.num_images == 5
    assert (result.all.pq, result.all.num_classes) == (1.0, 2)
    assert result.warnings == ()


def test_written_files_read_back_as_the_results(descriptor, tmp_path):
    result = _make_result(7, descriptor)
    writer = coco_writer.CocoPanopticWriter(
        tmp_path / "png", descriptor, json_path=tmp_path / "other.json"
    )
    writer.add(result, "folder/cow.jpeg")
    read = coco_format.load_annotations(writer.close())
    assert read.images["folder/cow"] == coco_json.Image(
        "folder/cow", "folder/cow.jpeg", 20, 30
    )
    assert read.categories[21] == coco_json.Category(
        21, "cow", True, (200, 100, 0)
    )
    assert list(read.categories) == [21, 193]
    annotation = read.annotations["folder/cow"]
    ids = coco_format.load_segment_ids(tmp_path / "png" / annotation.file_name)
    again = PanopticResult.from_coco(ids, annotation, descriptor)
    np.testing.assert_array_equal(again.segmentation, result.segmentation)
    assert again.segments_info == result.segments_info


def test_closing_twice_is_harmless(descriptor, tmp_path):
    writer = coco_writer.CocoPanopticWriter(tmp_path / "a", descriptor)
    assert writer.close() == writer.close()
    assert json.loads(writer.json_path.read_text())["annotations"] == []


def test_an_error_leaves_no_json_file_that_looks_complete(descriptor, tmp_path):
    def fail_in_the_middle():
        with coco_writer.CocoPanopticWriter(
            tmp_path / "a", descriptor
        ) as writer:
            writer.add(_make_result(0, descriptor), "x.jpg")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    assert [p.name for p in tmp_path.glob("*json*")] == []
    assert (tmp_path / "a" / "x.png").exists()


@pytest.mark.parametrize(("name", "image_id"), [("a/x.jpg", 2), ("y.jpg", 1)])
def test_images_that_would_overwrite_each_other_are_refused(
    descriptor, tmp_path, name, image_id
):
    writer = coco_writer.CocoPanopticWriter(tmp_path / "a", descriptor)
    writer.add(_make_result(0, descriptor), "a/x.jpg", 1)
    with pytest.raises(errors.DataError, match="already written"):
        writer.add(_make_result(0, descriptor), name, image_id)
    writer.close()


def test_images_of_one_name_keep_their_folders_and_extensions(
    descriptor, tmp_path
):
    names = ["north/1.jpg", "south/1.jpg", "north/1.png"]
    with coco_writer.CocoPanopticWriter(tmp_path / "a", descriptor) as writer:
        paths = [writer.add(_make_result(0, descriptor), n) for n in names]
    assert [path.relative_to(tmp_path / "a").as_posix() for path in paths] == [
        "north/1.png",
        "south/1.png",
        "north/1.png.png",
    ]
    images = json.loads(writer.json_path.read_text())["images"]
    assert [image["file_name"] for image in images] == names
    assert [image["id"] for image in images] == [
        "north/1",
        "south/1",
        "north/1.png",
    ]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_pictures_read_back_as_their_ids(tmp_path, mode):
    ids = np.random.default_rng(0).integers(0, 2**24, (7, 5))
    picture = Image.fromarray(coco_format.encode_ids(ids)).convert(mode)
    picture.save(tmp_path / "a.png")
    loaded = coco_format.load_segment_ids(tmp_path / "a.png")
    np.testing.assert_array_equal(loaded, ids)
    assert loaded.dtype == np.int32


def test_pictures_of_other_kinds_are_refused(tmp_path):
    path = tmp_path / "a.png"
    Image.new("L", (4, 4)).save(path)
    with pytest.raises(errors.DataError, match="pixel format L"):
        coco_format.load_segment_ids(path)
    Image.new("RGB", (64, 64)).save(path)
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(errors.DataError, match=r"a\.png cannot be read"):
        coco_format.load_segment_ids(path)
    path.write_text("no picture")
    with pytest.raises(errors.DataError, match=r"a\.png cannot be read"):
        coco_format.load_segment_ids(path)


def test_a_jpeg_that_is_called_png_is_refused(tmp_path):
    ids = np.kron([[1, 70000], [300, 5]], np.ones((8, 8), int))
    picture = Image.fromarray(coco_format.encode_ids(ids))
    picture.save(tmp_path / "a.png", format="JPEG")
    with pytest.raises(errors.DataError, match=r"a\.png is a JPEG file\. JPEG"):
        coco_format.load_segment_ids(tmp_path / "a.png")


def _draw(ids):
    return Image.fromarray(coco_format.encode_ids(np.asarray(ids)))


def _save_as_jpeg(ids):
    stream = io.BytesIO()
    _draw(ids).save(stream, format="JPEG", quality=95)
    return Image.open(stream)


def _shrink(ids, filter_):
    return _draw(ids).resize((40, 40), filter_).resize((64, 64), filter_)


@pytest.mark.parametrize(
    "spoil",
    [
        _save_as_jpeg,
        lambda ids: _shrink(ids, Image.Resampling.BILINEAR),
        lambda ids: _shrink(ids, Image.Resampling.BICUBIC),
        lambda ids: _draw(ids).filter(ImageFilter.SMOOTH),
    ],
)
def test_ids_that_were_mixed_are_called_so(spoil):
    y, x = np.mgrid[:64, :64]
    ids = np.where(y < 40, 7001, 26000)
    ids[(y - 30) ** 2 + (x - 30) ** 2 < 300] = 70000
    found = label_map.compute_segments(
        coco_format.decode_ids(np.asarray(spoil(ids).convert("RGB")))
    )
    areas = dict(zip(found.ids.tolist(), found.areas.tolist(), strict=True))
    unlisted = {i: n for i, n in areas.items() if i not in np.unique(ids)}
    text = coco_format.describe_unlisted_ids("a.png", unlisted, 3)
    assert f"the PNG has {len(unlisted)} ids that the JSON does not" in text
    assert "saved as JPEG, or resized or drawn with smooth borders" in text


def test_few_ids_that_are_not_listed_are_named():
    text = coco_format.describe_unlisted_ids("a.png", {300: 8}, 3)
    assert text == "segment 300 (8 pixels) is in the PNG but not in the JSON"
    text = coco_format.describe_unlisted_ids("a.png", {300: 8, 301: 2}, 3)
    assert text.endswith("but not in the JSON, nor 1 more ids")
    many = {i: 100 for i in range(1, 21)}
    assert "smooth" not in coco_format.describe_unlisted_ids("a", many, 21)
