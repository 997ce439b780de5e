# SPDX-License-Identifier: Apache-2.0
import dataclasses

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import descriptor
from deeplab2_like.results import raw_predictions

_FORMATS = list(raw_predictions.MAX_INSTANCE)
_CITY = descriptor.load("cityscapes_panoptic")
# Sky 10, two cars 13, void 255.
_PANOPTIC = np.array([[10000, 13001, 13002], [255000, 13002, 13002]])


def _load_png(path):
    return np.asarray(Image.open(path))


def _write(folder, panoptic, dataset=_CITY, name="munich_3", **options):
    writer = raw_predictions.RawPredictionWriter(folder, dataset, **options)
    semantic = panoptic // dataset.label_divisor
    return writer.write(name, semantic, panoptic)


@pytest.mark.parametrize("panoptic_format", _FORMATS)
def test_what_is_written_is_read_again(tmp_path, panoptic_format):
    semantic, panoptic = _write(
        tmp_path, _PANOPTIC, panoptic_format=panoptic_format, convert_ids=False
    )
    np.testing.assert_array_equal(_load_png(semantic), _PANOPTIC // 1000)
    found = raw_predictions.load_raw_panoptic(panoptic, panoptic_format)
    np.testing.assert_array_equal(found[0], _PANOPTIC // 1000)
    np.testing.assert_array_equal(found[1], _PANOPTIC % 1000)
    assert semantic == tmp_path / "raw_semantic/munich_3.png"
    ending = "npy" if "numpy" in panoptic_format else "png"
    assert panoptic == tmp_path / f"raw_panoptic/munich_3.{ending}"


def test_two_channels_are_class_and_instance(tmp_path):
    _, panoptic = _write(tmp_path, np.array([[13255]]), convert_ids=False)
    np.testing.assert_array_equal(_load_png(panoptic), [[[13, 255, 0]]])


def test_three_channels_split_the_instance_number(tmp_path):
    _, panoptic = _write(
        tmp_path,
        np.array([[13999, 13256]]),
        panoptic_format="three_channel_png",
        convert_ids=False,
    )
    expected = [[[13, 3, 231], [13, 1, 0]]]
    np.testing.assert_array_equal(_load_png(panoptic), expected)


def test_cityscapes_gets_the_ids_of_its_evaluation_server(tmp_path):
    panoptic = np.append(np.arange(19), 255)[np.newaxis] * 1000
    semantic, written = _write(tmp_path, panoptic)
    ids = [7, 8, 11, 12, 13, 17, *range(19, 29), 31, 32, 33, 0]
    np.testing.assert_array_equal(_load_png(semantic), [ids])
    np.testing.assert_array_equal(_load_png(written)[..., 0], [ids])


@pytest.mark.parametrize(
    ("name", "classes", "ids"),
    [
        # 80 and 81 are the last thing and the first stuff; void is a class.
        ("coco_panoptic", [0, 1, 80, 81], [0, 1, 90, 92]),
        # Class and category 0 is road, so that void stays what it is.
        ("kitti_step", [0, 13, 255], [0, 13, 255]),
    ],
)
def test_void_never_gets_the_id_of_a_class(tmp_path, name, classes, ids):
    dataset = descriptor.load(name)
    panoptic = np.array([classes]) * dataset.label_divisor
    semantic, _ = _write(tmp_path, panoptic, dataset)
    np.testing.assert_array_equal(_load_png(semantic), [ids])


@pytest.mark.parametrize(
    ("panoptic_format", "instance", "others"),
    [
        ("two_channel_png", 256, "three_channel_png or two_channel_numpy"),
        ("three_channel_png", 65536, "two_channel_numpy_array"),
    ],
)
def test_an_instance_that_does_not_fit_is_one_sentence(
    tmp_path, panoptic_format, instance, others
):
    wide = dataclasses.replace(_CITY, label_divisor=1 << 17)
    panoptic = np.array([[13 << 17, (13 << 17) + instance]])
    with pytest.raises(errors.DataError) as caught:
        _write(tmp_path, panoptic, wide, panoptic_format=panoptic_format)
    message = str(caught.value)
    assert f"Image 'munich_3': it has the instance number {instance}" in message
    assert panoptic_format in message
    assert f"raw_panoptic_format: {others}" in message
    assert not list(tmp_path.rglob("*.png"))
    panoptic[0, 1] -= 1
    assert _write(tmp_path, panoptic, wide, panoptic_format=panoptic_format)


def test_classes_that_do_not_fit_are_refused_before_anything_is_done(tmp_path):
    large = dataclasses.replace(
        _CITY, category_ids=(*_CITY.category_ids[:-1], 256)
    )
    with pytest.raises(errors.ConfigError, match="category id 256") as caught:
        raw_predictions.RawPredictionWriter(tmp_path, large)
    assert "convert_raw_to_eval_ids to false" in str(caught.value)
    raw_predictions.RawPredictionWriter(tmp_path, large, convert_ids=False)
    far = dataclasses.replace(_CITY, ignore_label=300)
    with pytest.raises(errors.ConfigError, match="class 300"):
        raw_predictions.RawPredictionWriter(tmp_path, far, convert_ids=False)
    with pytest.raises(errors.ConfigError, match="'png'"):
        raw_predictions.RawPredictionWriter(
            tmp_path, _CITY, panoptic_format="png"
        )


def test_frames_of_videos_get_folders(tmp_path):
    semantic, panoptic = _write(tmp_path, _PANOPTIC, name="0001/000000.png")
    assert semantic == tmp_path / "raw_semantic/0001/000000.png"
    assert panoptic == tmp_path / "raw_panoptic/0001/000000.png"


def test_a_dot_in_a_name_is_no_extension(tmp_path):
    semantic, _ = _write(tmp_path, _PANOPTIC, name="scale_1.5")
    assert semantic.name == "scale_1.5.png"


def test_an_image_without_instances_has_classes_only(tmp_path):
    writer = raw_predictions.RawPredictionWriter(tmp_path, _CITY)
    (file,) = writer.write("a", np.array([[0, 255]]))
    np.testing.assert_array_equal(_load_png(file), [[7, 0]])


@pytest.mark.parametrize("name", ["", "../a", "/a", "a/../../b", "."])
def test_names_outside_of_the_folder_are_refused(tmp_path, name):
    with pytest.raises(errors.DataError, match="cannot become a file name"):
        _write(tmp_path / "out", _PANOPTIC, name=name)
    assert not list(tmp_path.rglob("*.png"))


def test_two_images_of_one_name_are_refused(tmp_path):
    writer = raw_predictions.RawPredictionWriter(tmp_path, _CITY)
    writer.write("a.png", _PANOPTIC // 1000, _PANOPTIC)
    with pytest.raises(errors.DataError, match="Two images are called 'a'"):
        writer.write("a", _PANOPTIC // 1000, _PANOPTIC)
    # The next evaluation replaces the files.
    _write(tmp_path, _PANOPTIC, name="a")


def test_nothing_half_written_is_left(tmp_path, monkeypatch):
    _write(tmp_path, _PANOPTIC)
    before = (tmp_path / "raw_semantic/munich_3.png").read_bytes()

    def fail(_, file, **options):
        del options
        file.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(Image.Image, "save", fail)
    with pytest.raises(OSError, match="No space left"):
        _write(tmp_path, np.zeros((50, 50), int))
    assert (tmp_path / "raw_semantic/munich_3.png").read_bytes() == before
    assert len([p for p in tmp_path.rglob("*") if p.is_file()]) == 2


def test_what_cannot_be_read_is_one_sentence(tmp_path):
    with pytest.raises(errors.DataError, match="does not exist"):
        raw_predictions.load_raw_panoptic(tmp_path / "a.png", _FORMATS[0])
    Image.new("L", (3, 3)).save(tmp_path / "grey.png")
    (tmp_path / "text.npy").write_text("text")
    with pytest.raises(errors.DataError, match=r"dimensions are \[3, 3\]"):
        raw_predictions.load_raw_panoptic(tmp_path / "grey.png", _FORMATS[0])
    for form in _FORMATS:
        with pytest.raises(errors.DataError, match="no panoptic map"):
            raw_predictions.load_raw_panoptic(tmp_path / "text.npy", form)
