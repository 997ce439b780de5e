# SPDX-License-Identifier: Apache-2.0
"""Pasting between the examples of a pipeline."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.data import copy_paste, pipeline
from deeplab2_like.data.preprocessing import Preprocessing

# Each pixel of the toy records is class * 1000 + number of the record.
RULES = pipeline.LabelRules(num_classes=3, ignore_label=255, label_divisor=1000)
PLAIN = Preprocessing((33, 33), min_scale=0.5, max_scale=2.0)
PASTING = dataclasses.replace(
    PLAIN, copy_paste=copy_paste.CopyPaste(0.7, 1, (1, 2))
)


def make(
    pattern,
    options=PASTING,
    batch_size=4,
    input_context=None,
    deterministic=True,
    **reading,
):
    return pipeline.make_training_dataset(
        [pattern],
        RULES,
        options,
        lambda panoptic: {"panoptic": panoptic},
        pipeline.Reading(seed=3, deterministic=deterministic, **reading),
        batch_size=batch_size,
        input_context=input_context,
    )


def take(data, count):
    """Returns images, labels and names of a number of batches, joined."""
    batches = list(data.take(count).as_numpy_iterator())
    return {
        "image": np.concatenate([b["image"] for b in batches]),
        "panoptic": np.concatenate([b["targets"]["panoptic"] for b in batches]),
        "name": np.concatenate([b["name"] for b in batches]),
    }


def assert_equal(first, second):
    tf.nest.map_structure(np.testing.assert_array_equal, first, second)


def test_things_of_the_next_crop_are_pasted(pattern):
    plain = take(make(pattern, PLAIN), 8)
    pasted = take(make(pattern), 7)
    num_pasted = 0
    for index, label in enumerate(pasted["panoptic"]):
        assert pasted["name"][index] == plain["name"][index]
        base = plain["image"][index], plain["panoptic"][index]
        source = plain["image"][index + 1], plain["panoptic"][index + 1]
        image = pasted["image"][index]
        is_pasted = (image != base[0]).any(-1)
        np.testing.assert_array_equal(label[~is_pasted], base[1][~is_pasted])
        np.testing.assert_array_equal(image[is_pasted], source[0][is_pasted])
        np.testing.assert_array_equal(
            label[is_pasted] // 1000, source[1][is_pasted] // 1000
        )
        new = set(label[is_pasted].tolist())
        assert len(new) <= 1
        assert not new & set(base[1].ravel().tolist())
        num_pasted += len(new)
    assert 14 <= num_pasted <= 25  # Of 28.


@pytest.mark.slow
def test_every_record_is_an_image_once_in_each_epoch(pattern):
    names = take(make(pattern, batch_size=11), 3)["name"]
    for epoch in range(3):
        assert len(set(names[11 * epoch : 11 * epoch + 11])) == 11
    names = take(make(pattern, deterministic=False), 22)["name"]
    assert len(set(names)) == 11


@pytest.mark.slow
def test_pasting_does_not_depend_on_threads(pattern):
    expected = take(make(pattern, num_parallel_calls=1), 6)
    assert_equal(take(make(pattern, num_parallel_calls=4), 6), expected)


@pytest.mark.slow
@pytest.mark.parametrize("start_step", [1, 9])
def test_pasting_does_not_depend_on_the_start(pattern, start_step):
    expected = take(make(pattern), start_step + 3)
    started = take(make(pattern, start_step=start_step), 3)
    first = 4 * start_step
    assert_equal(started, {k: v[first:] for k, v in expected.items()})


@pytest.mark.parametrize(
    ("pipelines", "replicas", "start_step"),
    [
        (2, 4, 3),
        *(
            pytest.param(*case, marks=pytest.mark.slow)
            for case in [(1, 2, 0), (4, 4, 0), (3, 3, 2)]
        ),
    ],
)
def test_pasting_does_not_depend_on_the_number_of_workers(
    pattern, pipelines, replicas, start_step
):
    batch, steps = 12 // pipelines, 3
    expected = take(make(pattern, batch_size=12, start_step=start_step), steps)
    for index in range(pipelines):
        own = take(
            make(
                pattern,
                batch_size=12,
                start_step=start_step,
                input_context=tf.distribute.InputContext(
                    pipelines, index, replicas
                ),
            ),
            steps * replicas // pipelines,
        )
        at = np.arange(12 * steps).reshape(steps, 12)
        at = at[:, batch * index : batch * index + batch].ravel()
        assert_equal(own, {k: v[at] for k, v in expected.items()})


_MODES = [True, pytest.param(False, marks=pytest.mark.slow)]


@pytest.mark.parametrize("deterministic", _MODES)
def test_batches_of_one_image_and_single_records_are_pasted_too(
    tmp_path, write_records, deterministic
):
    pattern = write_records(tmp_path, count=1, num_shards=1)
    data = make(pattern, batch_size=1, deterministic=deterministic)
    assert data.element_spec["image"].shape == (1, 33, 33, 3)
    labels = take(data, 12)["panoptic"]
    # Record 0 has crowds only: nothing is ever pasted from it.
    assert set(np.unique(labels)) <= {0, 1000, 2000, RULES.void}
    (tmp_path / "two").mkdir()
    pattern = write_records(tmp_path / "two", count=2, num_shards=1)
    labels = take(make(pattern, deterministic=deterministic), 12)["panoptic"]
    assert any((label % 1000 == 2).any() for label in labels)


@pytest.mark.parametrize("deterministic", _MODES)
def test_damaged_images_are_neither_used_nor_pasted(
    tmp_path, write_records, deterministic
):
    pattern = write_records(tmp_path, count=6, num_shards=1)
    (path,) = tmp_path.glob("train-*")
    content = path.read_bytes()
    path.write_bytes(content[:-100])
    data = make(pattern, deterministic=deterministic, on_damage="skip")
    found = take(data, 20)
    assert set(found["name"]) == {f"image_{n}".encode() for n in range(5)}
    assert found["image"].shape == (80, 33, 33, 3)


def test_workers_without_determinism_paste_too(pattern):
    context = tf.distribute.InputContext(2, 1, 2)
    data, plain = (
        make(pattern, options, deterministic=False, input_context=context)
        for options in (PASTING, PLAIN)
    )
    assert data.element_spec == plain.element_spec
    found = take(data, 10)
    assert found["image"].shape == (20, 33, 33, 3)
    own = np.char.partition(found["name"].astype(str), "_")[:, 2].astype(int)
    number = found["panoptic"] % 1000
    other = (number > 0) & (number != own[:, None, None])
    assert other.any()
