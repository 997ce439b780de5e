# SPDX-License-Identifier: Apache-2.0
import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import graph_errors
from deeplab2_like.data.records import decoding
from deeplab2_like.data.records import features as record_features

RULES = {"num_classes": 3, "ignore_label": 255, "label_divisor": 1000}


def make_image(mode="RGB", size=(5, 7), file_format="PNG"):
    channels = len(Image.new(mode, (1, 1)).getbands())
    values = np.random.default_rng(0).integers(
        0, 256, (*size, channels), dtype=np.uint8
    )
    image = Image.fromarray(values.squeeze(-1) if channels == 1 else values)
    if image.mode != mode:
        image = image.convert(mode)
    stream = io.BytesIO()
    image.save(stream, format=file_format)
    return stream.getvalue(), image


def make_png(array):
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, format="PNG")
    return stream.getvalue()


def make_record(size=(5, 7), name="some/image", **features):
    """A record of any features; None leaves a standard one out."""
    standard = {
        record_features.IMAGE: make_image(size=size)[0],
        record_features.NAME: name.encode(),
        record_features.LABEL: np.zeros(size, "<i4").tobytes(),
        record_features.LABEL_FORMAT: b"raw",
    }
    standard.update(
        {getattr(record_features, key): features[key] for key in features}
    )
    lists = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for key, value in standard.items()
        if value is not None
    }
    example = tf.train.Example(features=tf.train.Features(feature=lists))
    return example.SerializeToString()


@functools.cache
def make_decoder(**options):
    return tf.function(
        functools.partial(decoding.decode_example, **RULES, **options),
        input_signature=[tf.TensorSpec([], tf.string)],
    )


def decode(serialized, **options):
    decoded = make_decoder(**options)(serialized)
    return {key: value.numpy() for key, value in decoded.items()}


def decode_to_error(serialized, **options):
    with pytest.raises((tf.errors.OpError, UnicodeDecodeError)) as caught:
        decode(serialized, **options)
    error = graph_errors.as_data_error(caught.value)
    assert isinstance(error, errors.DataError), caught.value
    return str(error)


def test_an_encoded_example_decodes_to_itself():
    encoded, image = make_image()
    panoptic = np.arange(35, dtype=np.int64).reshape(5, 7) + 1000
    panoptic[0] = 255000
    record = record_features.encode_example(
        name="Zürich_7",
        image=encoded,
        image_format="png",
        size=(5, 7),
        panoptic=panoptic,
    )
    decoded = decode(record)
    np.testing.assert_array_equal(decoded["image"], np.asarray(image))
    np.testing.assert_array_equal(decoded["panoptic"], panoptic)
    assert decoded["panoptic"].dtype == np.int32
    assert decoded["name"].decode() == "Zürich_7"


def test_the_features_are_those_of_deeplab2():
    record = record_features.encode_example(
        name="a",
        image=make_image()[0],
        image_format="png",
        size=(5, 7),
        panoptic=np.full((5, 7), 258),
    )
    features = tf.train.Example.FromString(record).features.feature
    assert features["image/height"].int64_list.value == [5]
    assert features["image/width"].int64_list.value == [7]
    assert features["image/channels"].int64_list.value == [3]
    assert features["image/format"].bytes_list.value == [b"png"]
    assert features["image/filename"].bytes_list.value == [b"a"]
    label = features["image/segmentation/class/encoded"].bytes_list.value[0]
    assert label == b"\x02\x01\x00\x00" * 35
    label_format = features["image/segmentation/class/format"]
    assert label_format.bytes_list.value == [b"raw"]
    assert len(features) == 8


def test_a_test_split_has_no_label_features():
    record = record_features.encode_example(
        name="a", image=make_image()[0], image_format="png", size=(5, 7)
    )
    features = tf.train.Example.FromString(record).features.feature
    assert not [key for key in features if "segmentation" in key]
    assert decode(record, is_label_required=False)["panoptic"].min() == 255000
    message = decode_to_error(record)
    assert "'a' has no label" in message


@pytest.mark.parametrize("highest", [2, 255])
def test_classes_in_a_png_become_panoptic_ids_without_instances(highest):
    semantic = np.array([[0, 1, 2], [2, highest, 0]])
    record = record_features.encode_example(
        name="a",
        image=make_image(size=(2, 3))[0],
        image_format="png",
        size=(2, 3),
        semantic=semantic,
    )
    np.testing.assert_array_equal(decode(record)["panoptic"], semantic * 1000)


def test_classes_in_a_16_bit_png_are_not_narrowed():
    label = np.array([[0, 513], [1, 2]], np.uint16)
    record = make_record(
        (2, 2), LABEL=make_png(label), LABEL_FORMAT=b"png", name="deep"
    )
    message = decode_to_error(record)
    assert "'deep' has the class ids [513] in 1 pixels" in message
    label[0, 1] = 255
    record = make_record((2, 2), LABEL=make_png(label), LABEL_FORMAT=b"png")
    np.testing.assert_array_equal(decode(record)["panoptic"], label * 1000.0)


@pytest.mark.parametrize("mode", ["RGB", "P", "RGBA", "1"])
def test_a_label_png_that_is_not_grey_is_named(mode):
    label = make_image(mode, (5, 7))[0]
    message = decode_to_error(make_record(LABEL=label, LABEL_FORMAT=b"png"))
    assert "label PNG of image 'some/image' has the colour type" in message
    assert "greyscale PNG of 8 or 16 bits" in message


def test_a_label_of_another_size_is_named():
    message = decode_to_error(make_record(LABEL=b"\0" * 4 * 34))
    assert "label of image 'some/image' has 136 bytes" in message
    assert "[5 7]" in message
    record = make_record(
        LABEL=make_png(np.zeros((7, 5), np.uint8)), LABEL_FORMAT=b"png"
    )
    message = decode_to_error(record)
    assert "'some/image' has the (height, width) [5 7]" in message
    assert "its label has [7 5]" in message


def test_classes_out_of_range_are_listed():
    label = np.array([[3000, 2999, -1], [77005, 77006, 255999]], "<i4")
    message = decode_to_error(make_record((2, 3), LABEL=label.tobytes()))
    assert "'some/image' has the class ids [-1 3 77] in 4 pixels" in message
    assert "Allowed are 0 to 2 and 255" in message


def test_an_ignore_label_that_is_a_class_is_allowed():
    label = tf.constant([[0, 256, 300]])
    checked = decoding.check_label_range(
        label,
        tf.constant("a"),
        num_classes=2,
        ignore_label=0,
        label_divisor=256,
    )
    np.testing.assert_array_equal(checked, label)


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "1"])
def test_every_kind_of_png_becomes_rgb(mode):
    encoded, image = make_image(mode)
    decoded = decode(make_record(IMAGE=encoded))["image"]
    np.testing.assert_array_equal(decoded, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_every_kind_of_jpeg_becomes_rgb(mode):
    encoded, _ = make_image(mode, file_format="JPEG")
    decoded = decode(make_record(IMAGE=encoded))["image"]
    expected = Image.open(io.BytesIO(encoded)).convert("RGB")
    difference = decoded.astype(int) - np.asarray(expected).astype(int)
    assert np.abs(difference).max() <= 2


@pytest.mark.parametrize(
    "encoded", [b"", b"GIF89a" + bytes(30), b"\xfe\xff text", None]
)
def test_an_image_that_is_not_one_is_named(encoded):
    message = decode_to_error(make_record(IMAGE=encoded, name="a'b\"é"))
    assert "mage 'a'b\"é'" in message
    assert "has no image" in message or "neither a JPEG nor a PNG" in message


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_a_damaged_image_is_named_or_allowed(file_format):
    encoded, _ = make_image(size=(64, 64), file_format=file_format)
    for length in (len(encoded) // 3, len(encoded) - 20):
        record = make_record((64, 64), IMAGE=encoded[:length])
        message = decode_to_error(record)
        assert "Image 'some/image' is damaged or incomplete and cannot be" in (
            message
        )
        assert "on_damage: SKIP" in message
        decoded = decode(record, allows_damage=True)
        assert decoded["image"].shape == (0, 0, 3)
        assert decoded["panoptic"].shape == (0, 0)
        assert decoded["name"] == b"some/image"


def test_a_damaged_label_is_named_or_allowed():
    label = make_png(np.arange(35, dtype=np.uint8).reshape(5, 7) % 3)
    record = make_record(LABEL=label[:-30], LABEL_FORMAT=b"png")
    message = decode_to_error(record)
    assert "The label PNG of image 'some/image' is damaged" in message
    decoded = decode(record, allows_damage=True)
    assert decoded["image"].size == decoded["panoptic"].size == 0


def test_good_records_and_other_faults_are_as_without_allowing_damage():
    record = make_record()
    plain, allowing = decode(record), decode(record, allows_damage=True)
    for key, value in plain.items():
        np.testing.assert_array_equal(allowing[key], value)
    record = make_record(LABEL=b"\0" * 4 * 34)
    message = decode_to_error(record, allows_damage=True)
    assert "label of image 'some/image' has 136 bytes" in message


def test_sixteen_bits_are_refused():
    pixels = (np.arange(35).reshape(5, 7) * 100).astype(np.uint16)
    message = decode_to_error(make_record(IMAGE=make_png(pixels)))
    assert "Image 'some/image' has more than 8 bits a channel (16" in message
    assert "Scale it to 8 bits first" in message


def test_pixels_are_those_that_are_stored_whatever_exif_says():
    stream = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6
    image = Image.fromarray(np.arange(35, dtype=np.uint8).reshape(5, 7))
    image.save(stream, "PNG", exif=tags)
    decoded = decode(make_record(IMAGE=stream.getvalue()))
    np.testing.assert_array_equal(decoded["image"][..., 0], np.asarray(image))


def test_an_unknown_label_format_is_named():
    message = decode_to_error(make_record(LABEL_FORMAT=b"tiff"))
    assert "'some/image' has the format 'tiff'" in message


def test_a_record_of_something_else_is_a_data_error():
    assert "tf.train.Example" in decode_to_error(b"\xff\xff\xff")
    assert "has no image" in decode_to_error(b"just some bytes")
    message = decode_to_error(make_record(NAME=7))
    assert "'image/filename'" in message
    assert "wrong type" in message


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (300, 1)])
def test_thin_images_decode(size):
    decoded = decode(make_record(size))
    assert decoded["image"].shape == (*size, 3)
    assert decoded["panoptic"].shape == size


def test_an_error_inside_tf_data_is_found_too():
    data = tf.data.Dataset.from_tensors(make_record(LABEL=None)).map(
        lambda record: decoding.decode_example(record, **RULES)
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        next(iter(data))
    error = graph_errors.as_data_error(caught.value)
    assert str(error).startswith("The record of image 'some/image' has no lab")


def test_errors_of_other_code_are_left_alone():
    assert graph_errors.as_data_error(ValueError("x")) is None
    assert (
        graph_errors.as_data_error(tf.errors.InternalError(None, None, "x"))
        is None
    )


@pytest.mark.parametrize(
    ("label", "part"),
    [
        (np.zeros((7, 5), int), "is 5x7 (height x width) but its label"),
        (np.zeros((5, 7)), "float64"),
        (np.full((5, 7), -1), "from -1 to -1"),
        (np.full((5, 7), 2**31), "2147483648"),
    ],
)
def test_labels_that_cannot_be_stored_are_refused(label, part):
    with pytest.raises(errors.DataError) as caught:
        record_features.encode_example(
            name="x",
            image=b"",
            image_format="png",
            size=(5, 7),
            panoptic=label,
        )
    assert part in str(caught.value)
    assert "'x'" in str(caught.value)


# Records as the converters of deeplab2 write them.


def make_deeplab2_record(values):
    """A record of exactly these features; bytes, or integers."""
    features = {
        key: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
        if isinstance(value, bytes)
        else tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        for key, value in values.items()
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString()


def deeplab2_features(size=(5, 7), file_format="PNG", label=None, **more):
    encoded, _ = make_image(size=size, file_format=file_format)
    features = {
        "image/encoded": encoded,
        "image/filename": b"aachen_000000_000019",
        "image/format": file_format.lower().encode(),
        "image/height": size[0],
        "image/width": size[1],
        "image/channels": 3,
    }
    if label is not None:
        features["image/segmentation/class/encoded"] = label
        features["image/segmentation/class/format"] = b"raw"
    return features | {key.replace("__", "/"): v for key, v in more.items()}


@pytest.mark.parametrize("file_format", ["PNG", "JPEG"])
def test_panoptic_records_of_deeplab2_are_read_as_they_are(file_format):
    panoptic = np.arange(35, dtype="<i4").reshape(5, 7)
    panoptic[3] = 255 * 1000
    panoptic[4] = 2001
    features = deeplab2_features((5, 7), file_format, panoptic.tobytes())
    decoded = decode(make_deeplab2_record(features))
    assert decoded["image"].shape == (5, 7, 3)
    np.testing.assert_array_equal(decoded["panoptic"], panoptic)
    assert decoded["name"] == b"aachen_000000_000019"


def test_coco_records_of_deeplab2_are_read_as_they_are():
    panoptic = np.array([[0, 256 + 1, 133 * 256]], "<i4")
    record = make_deeplab2_record(
        deeplab2_features((1, 3), "JPEG", panoptic.tobytes())
    )
    decoded = decoding.decode_example(
        record, num_classes=134, ignore_label=0, label_divisor=256
    )
    np.testing.assert_array_equal(decoded["panoptic"], panoptic)


def test_semantic_records_of_deeplab2_are_read_as_they_are():
    semantic = np.array([[0, 1], [2, 255]], np.uint8)
    features = deeplab2_features((2, 2), label=make_png(semantic))
    features["image/segmentation/class/format"] = b"png"
    decoded = decode(make_deeplab2_record(features))
    np.testing.assert_array_equal(decoded["panoptic"], semantic * 1000.0)


def test_records_of_a_test_split_of_deeplab2_are_read_as_they_are():
    record = make_deeplab2_record(deeplab2_features())
    decoded = decode(record, is_label_required=False)
    assert (decoded["panoptic"] == 255000).all()
    assert "has no label" in decode_to_error(record)


def test_frames_of_videos_are_read_one_by_one_and_named_by_sequence():
    label = np.full((5, 7), 1001, "<i4").tobytes()
    other, _ = make_image(size=(9, 9))
    features = deeplab2_features(
        label=label,
        video__sequence_id=b"0007",
        video__frame_id=b"000012",
        prev_image__encoded=other,
        prev_image__segmentation__class__encoded=b"short",
        next_image__encoded=other,
        next_image__segmentation__class__encoded=b"short",
        image__depth__encoded=other,
        image__depth__format=b"png",
    )
    features["image/filename"] = b"000012.png"
    decoded = decode(make_deeplab2_record(features))
    assert decoded["name"] == b"0007/000012.png"
    assert decoded["image"].shape == (5, 7, 3)
    assert (decoded["panoptic"] == 1001).all()
