# SPDX-License-Identifier: Apache-2.0
"""Windows of large images are parts of the images, drawn by seed."""

import dataclasses
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.data import pipeline, preprocessing, sources
from deeplab2_like.data.large import lists, windows


def _open(path, dataset, window=(40, 50), log=lambda _: None):
    return windows.LargeWindows(lists.load([path]), dataset, window, log)


def _cut(name, shape, images, labels):
    """Cuts a window out of the whole image, by the name of the example."""
    path, _, corner = name.rpartition("@")
    top, left = map(int, corner.split(","))
    number = int(pathlib.Path(path).stem)
    place = (slice(top, top + shape[0]), slice(left, left + shape[1]))
    return number, images[number][place], labels[number][place]


def test_windows_equal_parts_of_the_whole_image(write_large, dataset):
    path, images, labels = write_large()
    large = _open(path, dataset)
    numbers, corners = [], set()
    for number in range(60):
        image, panoptic, name = large.read(7, number)
        assert panoptic.dtype == np.int32
        assert image.shape == (*panoptic.shape, 3)
        assert panoptic.shape == (40, 50)
        index, part, label = _cut(name, panoptic.shape, images, labels)
        np.testing.assert_array_equal(image, part)
        np.testing.assert_array_equal(panoptic, label)
        numbers.append(index)
        corners.add(name)
    # In proportion to the pixels: 83 %.
    assert 0.6 < numbers.count(0) / 60 < 0.98
    assert len(corners) > 55


def test_things_of_a_table_are_numbered_in_each_window(write_large, dataset):
    path, images, labels = write_large(with_table=True)
    large = _open(path, dataset)
    divisor = dataset.label_divisor
    for number in range(20):
        image, panoptic, name = large.read(7, number)
        _, part, label = _cut(name, panoptic.shape, images, labels)
        np.testing.assert_array_equal(image, part)
        np.testing.assert_array_equal(panoptic // divisor, label // divisor)
        both = np.stack([panoptic, label], -1).reshape(-1, 2)
        pairs = np.unique(both, axis=0)
        # One to one, from 1 without gaps.
        assert len(pairs) == len(np.unique(label)) == len(np.unique(panoptic))
        for class_id in dataset.thing_ids:
            own = pairs[pairs[:, 0] // divisor == class_id, 0] % divisor
            assert own.tolist() == list(range(1, len(own) + 1))


def test_an_example_depends_on_the_seed_and_its_number_alone(
    write_large, dataset
):
    path, _, _ = write_large()
    first, second = _open(path, dataset), _open(path, dataset)
    for number in (5, 3, 11):
        image, _, name = first.read(7, number)
        again, _, same = second.read(7, number)
        assert name == same
        np.testing.assert_array_equal(image, again)
    assert first.read(7, 0)[2] != first.read(8, 0)[2]


def test_windows_without_a_label_are_drawn_again(
    tmp_path, write_large, dataset
):
    tifffile = pytest.importorskip("tifffile")
    path, _, labels = write_large(sizes=((150, 203),))
    sparse = np.full_like(labels[0], dataset.void_id)
    sparse[100:130, 60:90] = 0
    tifffile.imwrite(tmp_path / "0.labels.tif", sparse.astype(np.uint32))
    large = _open(path, dataset)
    for number in range(20):
        _, panoptic, _ = large.read(0, number)
        assert (panoptic != dataset.void_id).any()


def test_all_of_a_small_image_is_a_window(write_large, dataset):
    path, images, _ = write_large(sizes=((30, 20),))
    image, panoptic, _ = _open(path, dataset).read(0, 0)
    np.testing.assert_array_equal(image, images[0])
    assert panoptic.shape == (30, 20)


@pytest.mark.parametrize("deterministic", [True, False])
@pytest.mark.parametrize("pastes", [True, False])
def test_batches_are_made_of_windows(
    write_large, dataset, deterministic, pastes
):
    path, images, labels = write_large()
    options = preprocessing.Preprocessing(
        crop_size=(33, 49),
        copy_paste=preprocessing.copy_paste_lib.CopyPaste(
            probability=0.5 * pastes, thing_ids=dataset.thing_ids
        ),
    )
    large = _open(path, dataset, windows.compute_window(options))
    data = pipeline.make_training_dataset(
        [],
        pipeline.LabelRules.from_descriptor(dataset),
        options,
        lambda panoptic: {"panoptic": panoptic},
        pipeline.Reading(
            seed=3, deterministic=deterministic, start_step=2, windows=large
        ),
        batch_size=2,
    )
    batches = list(data.take(3))
    assert batches[0]["image"].shape == (2, 33, 49, 3)
    if pastes:
        return
    for step, batch in enumerate(batches, 2):
        for place in range(2):
            name = batch["name"][place].numpy().decode()
            assert name == large.read(3, 2 * step + place)[2]
            _, part, label = _cut(name, (33, 49), images, labels)
            found = batch["targets"]["panoptic"][place].numpy()
            image = batch["image"][place].numpy()
            # Flipped or not.
            if not (found == label).all():
                found, image = found[:, ::-1], image[:, ::-1]
            np.testing.assert_array_equal(found, label)
            np.testing.assert_allclose(image, part, atol=1e-3)


def test_pipelines_share_the_examples(write_large, dataset):
    path, _, _ = write_large()
    large = _open(path, dataset)

    def list_names(pipeline_id, num_pipelines):
        share = sources.Share(
            4,
            4 // num_pipelines,
            4 // num_pipelines,
            pipeline_id * 4 // num_pipelines,
            pipeline_id,
            num_pipelines,
        )
        data = large.make_source(
            share, seed=1, start_step=3, has_next=False, num_parallel_calls=2
        )
        count = 8 // num_pipelines
        return [
            (int(number), example["name"].numpy())
            for example, number in data.take(count)
        ]

    whole = list_names(0, 1)
    assert [number for number, _ in whole] == list(range(12, 20))
    assert sorted(list_names(0, 2) + list_names(1, 2)) == whole


def test_damaged_parts_are_void_and_named_once(tmp_path, write_large, dataset):
    tifffile = pytest.importorskip("tifffile")
    path, images, labels = write_large(sizes=((97, 64),))
    for name in ("0.tif", "0.labels.tif"):
        if name == "0.tif":
            tifffile.imwrite(
                tmp_path / name,
                images[0],
                photometric="rgb",
                tile=(32, 32),
                compression="zlib",
            )
        with tifffile.TiffFile(tmp_path / name) as file:
            page = file.pages[0]
            tile = 0 if name == "0.tif" else 3
            offset, count = page.dataoffsets[tile], page.databytecounts[tile]
        with open(tmp_path / name, "r+b") as file:
            file.seek(offset)
            file.write(b"\xff" * count)
    said = []
    large = _open(path, dataset, (97, 64), said.append)
    image, panoptic, _ = large.read(0, 0)
    large.read(0, 1)
    expected = labels[0].copy()
    expected[:32, :32] = dataset.void_id
    expected[32:64, 32:] = dataset.void_id
    np.testing.assert_array_equal(panoptic, expected)
    assert not image[:32, :32].any()
    assert len(said) == 2


def test_labels_that_are_not_allowed_stop_training_in_one_sentence(
    tmp_path, write_large, dataset
):
    tifffile = pytest.importorskip("tifffile")
    path, _, labels = write_large(sizes=((97, 64),))
    wrong = labels[0].astype(np.uint32)
    wrong[50, 50] = 9 * dataset.label_divisor
    tifffile.imwrite(tmp_path / "0.labels.tif", wrong)
    large = _open(path, dataset, (97, 64))
    with pytest.raises(errors.DataError, match="has the class 9"):
        large.read(0, 0)
    data = large.make_source(
        sources.Share(1, 1, 1),
        seed=0,
        start_step=0,
        has_next=False,
        num_parallel_calls=1,
    )
    with pytest.raises(tf.errors.InvalidArgumentError, match="has the class 9"):
        list(data.take(1))


def test_more_things_than_ids_are_refused(write_large, dataset):
    path, _, _ = write_large(sizes=((97, 64),), with_table=True)
    small = dataclasses.replace(dataset, label_divisor=3)
    with pytest.raises(errors.DataError, match="label_divisor 3 of the data"):
        _open(path, small, (97, 64)).read(0, 0)


def test_images_that_cannot_be_used_are_found_at_the_start(
    tmp_path, write_large, dataset
):
    tifffile = pytest.importorskip("tifffile")
    path, _, _ = write_large()
    tifffile.imwrite(tmp_path / "1.labels.tif", np.zeros((9, 9), np.uint8))
    with pytest.raises(errors.DataError, match="9 x 9 pixels"):
        _open(path, dataset)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, (33, 65)),
        ({"min_scale": 0.5, "max_scale": 2}, (66, 130)),
        ({"min_scale": 1.5, "max_scale": 2}, (33, 65)),
        (
            {
                "rotation": preprocessing.rotation_lib.Rotation(
                    max_degrees=90, probability=1
                )
            },
            (65, 33),
        ),
    ],
)
def test_windows_hold_a_crop_at_the_smallest_scale(options, expected):
    found = windows.compute_window(
        preprocessing.Preprocessing(crop_size=(33, 65), **options)
    )
    assert abs(found[0] - expected[0]) <= 1
    assert abs(found[1] - expected[1]) <= 1
