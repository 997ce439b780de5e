# SPDX-License-Identifier: Apache-2.0
"""Two sets of records in one training."""

import dataclasses
import fractions
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import copy_paste, mixing, pipeline
from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer

_RULES = pipeline.LabelRules(
    num_classes=3, ignore_label=255, label_divisor=1000
)
_CROP = Preprocessing((17, 17), min_scale=0.5, max_scale=2.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Returns a folder with 7 records `human` and 5 records `pseudo`."""
    path = tmp_path_factory.mktemp("mixed")
    rng = np.random.default_rng(0)
    for split, count in (("human", 7), ("pseudo", 5)):
        records = []
        for index in range(count):
            stream = io.BytesIO()
            pixels = rng.integers(0, 256, (20, 24, 3), np.uint8)
            Image.fromarray(pixels).save(stream, "PNG")
            records.append(
                record_features.encode_example(
                    name=f"{split}-{index}",
                    image=stream.getvalue(),
                    image_format="png",
                    size=(20, 24),
                    panoptic=rng.integers(0, 3, (20, 24)) * 1000 + 1,
                )
            )
        record_writer.write_shards(records, count, str(path), split, 2)
    return path


def _make(folder, share=0.5, options=_CROP, batch_size=4, context=None, **more):
    more = {"deterministic": True, "seed": 3, **more}
    return pipeline.make_training_dataset(
        [f"{folder}/human-*"],
        _RULES,
        options,
        lambda label: {"label": label},
        pipeline.Reading(mix=mixing.Mix([f"{folder}/pseudo-*"], share), **more),
        batch_size=batch_size,
        input_context=context,
    )


def _take(data, count):
    return list(data.take(count).as_numpy_iterator())


def _names(batches):
    return [name.decode() for batch in batches for name in batch["name"]]


@pytest.mark.parametrize("share", [0.5, 0.25, 1 / 3, 0.7, 0.999, 0.001])
def test_the_turns_of_both_sets_fill_all_numbers_in_the_stated_ratio(share):
    first, second = mixing.Mix([], share).turns()
    places = tf.range(3000, dtype=tf.int64)
    numbers = [turns.find_numbers(places).numpy() for turns in (first, second)]
    reached = min(n[-1] for n in numbers)
    merged = np.sort(np.concatenate([n[n <= reached] for n in numbers]))
    np.testing.assert_array_equal(merged, np.arange(reached + 1))
    is_second = first.are_second(tf.constant(merged)).numpy()
    ratio = fractions.Fraction(share).limit_denominator(1000)
    for end in range(1, min(len(merged), 1500)):
        assert is_second[:end].sum() == int(ratio * end)
        assert second.count_before(end) == is_second[:end].sum()
        assert first.count_before(end) == end - is_second[:end].sum()


@pytest.mark.parametrize("more", [{}, {"deterministic": False, "seed": None}])
@pytest.mark.parametrize(("share", "expected"), [(0.5, 2), (0.25, 1)])
def test_each_batch_has_the_stated_share_of_each_set(
    folder, share, expected, more
):
    for batch in _take(_make(folder, share, **more), 12):
        is_pseudo = [n.startswith("pseudo") for n in _names([batch])]
        assert sum(is_pseudo) == expected


def test_each_set_has_its_own_epochs_with_every_record_once(folder):
    names = _names(_take(_make(folder), 35))
    for split, count in (("human", 7), ("pseudo", 5)):
        own = [name for name in names if name.startswith(split)]
        epochs = [own[i : i + count] for i in range(0, len(own), count)]
        assert len(own) == 70
        assert all(len(set(epoch)) == count for epoch in epochs)
        assert len({tuple(epoch) for epoch in epochs}) > 1


@pytest.mark.parametrize("start", [1, 5, 9])
@pytest.mark.parametrize("pastes", [False, True])
def test_training_that_continues_reads_the_same_batches(folder, start, pastes):
    options = _CROP
    if pastes:
        options = dataclasses.replace(
            _CROP, copy_paste=copy_paste.CopyPaste(1.0, 5, (1, 2))
        )
    whole = _take(_make(folder, 0.3, options), start + 4)
    later = _take(_make(folder, 0.3, options, start_step=start), 4)
    for batch, other in zip(whole[start:], later, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)


@pytest.mark.parametrize("pastes", [False, True])
def test_two_pipelines_share_the_batches_of_one(folder, pastes):
    options = _CROP
    if pastes:
        options = dataclasses.replace(
            _CROP, copy_paste=copy_paste.CopyPaste(1.0, 5, (1, 2))
        )
    whole = _take(_make(folder, 0.3, options), 6)
    parts = [
        _take(
            _make(
                folder,
                0.3,
                options,
                context=tf.distribute.InputContext(2, number, 2),
            ),
            6,
        )
        for number in range(2)
    ]
    for batch, *halves in zip(whole, *parts, strict=True):
        for key in ("image", "name"):
            joined = np.concatenate([half[key] for half in halves])
            np.testing.assert_array_equal(batch[key], joined)


def test_a_second_set_that_does_not_exist_is_named(folder):
    mix = mixing.Mix([f"{folder}/other-*"], 0.5)
    with pytest.raises(errors.DataError, match="other-"):
        pipeline.make_training_dataset(
            [f"{folder}/human-*"],
            _RULES,
            _CROP,
            lambda label: {"label": label},
            pipeline.Reading(mix=mix),
            batch_size=2,
        )
