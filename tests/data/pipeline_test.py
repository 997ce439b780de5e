# SPDX-License-Identifier: Apache-2.0
import dataclasses
import functools
import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.data import (
    blur,
    color_jitter,
    graph_errors,
    pipeline,
    rotation,
    sources,
)
from deeplab2_like.data.preprocessing import Preprocessing
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import writer as record_writer

RULES = pipeline.LabelRules(num_classes=3, ignore_label=255, label_divisor=1000)
CROP = Preprocessing((33, 33), min_scale=0.5, max_scale=2.0)


def make_targets(panoptic_hw):
    return {"semantic": panoptic_hw // 1000, "first": panoptic_hw[:2, :2]}


def make_training(
    pattern, options=CROP, batch_size=4, input_context=None, **reading
):
    return pipeline.make_training_dataset(
        [pattern],
        RULES,
        options,
        make_targets,
        pipeline.Reading(**reading),
        batch_size=batch_size,
        input_context=input_context,
    )


def take(data, count):
    return list(data.take(count).as_numpy_iterator())


def assert_batches_equal(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        tf.nest.map_structure(np.testing.assert_array_equal, batch, other)


def get_names(batches):
    return [name.decode() for batch in batches for name in batch["name"]]


make_deterministic = functools.partial(
    make_training, deterministic=True, seed=3
)


def test_training_batches_have_the_shape_of_the_crop(pattern):
    data = make_training(pattern)
    assert data.element_spec["image"].shape == (4, 33, 33, 3)
    assert data.element_spec["targets"]["semantic"].shape == (4, 33, 33)
    for batch in take(data, 5):
        assert batch["image"].dtype == np.float32
        assert 0 <= batch["image"].min() <= batch["image"].max() <= 255
        assert set(batch["targets"]["semantic"].ravel()) <= {0, 1, 2, 255}


@pytest.mark.parametrize("options", [{"deterministic": True, "seed": 1}, {}])
def test_every_record_is_used(pattern, options):
    names = get_names(take(make_training(pattern, **options), 22))
    counts = np.unique(names, return_counts=True)[1]
    assert len(counts) == 11
    if options:
        assert set(counts) == {8}


def test_each_epoch_has_its_own_order_with_every_record_once(pattern):
    names = get_names(take(make_deterministic(pattern, batch_size=11), 6))
    epochs = [tuple(names[i : i + 11]) for i in range(0, 66, 11)]
    assert all(len(set(epoch)) == 11 for epoch in epochs)
    assert len(set(epochs)) == 6


def test_the_same_seed_gives_the_same_batches(pattern):
    batches = take(make_deterministic(pattern), 12)
    assert_batches_equal(
        batches, take(make_deterministic(pattern, num_parallel_calls=1), 12)
    )
    tf.random.set_seed(99)
    assert_batches_equal(
        batches, take(make_deterministic(pattern, num_parallel_calls=4), 12)
    )
    other = take(make_training(pattern, deterministic=True, seed=4), 12)
    assert get_names(batches) != get_names(other)


def test_color_jitter_changes_colors_only_and_is_repeatable(pattern):
    jittered = dataclasses.replace(
        CROP, color_jitter=color_jitter.ColorJitter(0.4, 0.4, 0.4, 0.1)
    )
    plain, changed, again = (
        take(make_deterministic(pattern, options, num_parallel_calls=calls), 4)
        for options, calls in ((CROP, 1), (jittered, 1), (jittered, 4))
    )
    assert_batches_equal(changed, again)
    for before, after in zip(plain, changed, strict=True):
        is_image = before["targets"]["semantic"] < 255
        assert_batches_equal([before["targets"]], [after["targets"]])
        np.testing.assert_array_equal(
            before["image"][~is_image], after["image"][~is_image]
        )
        assert (before["image"][is_image] != after["image"][is_image]).any()


ALL_CHANGES = dataclasses.replace(
    CROP,
    scale_step=0.0,
    scale_area_bias=-1.0,
    rotation=rotation.Rotation(15.0, 0.7),
    color_jitter=color_jitter.ColorJitter(0.4, 0.4, 0.4, 0.1),
    gray_probability=0.3,
    blur=blur.Blur(0.5),
    autoaugment_policy_name="simple_classification_policy",
)


def test_all_changes_together_are_repeatable_and_stay_in_range(pattern):
    batches, again = (
        take(make_deterministic(pattern, ALL_CHANGES, num_parallel_calls=n), 6)
        for n in (1, 4)
    )
    assert_batches_equal(batches, again)
    for batch in batches:
        assert batch["image"].shape == (4, 33, 33, 3)
        assert batch["image"].dtype == np.float32
        assert 0 <= batch["image"].min() <= batch["image"].max() <= 255
        is_void = batch["targets"]["semantic"] == 255
        assert (batch["image"][is_void] == 127.5).all()


def test_changes_of_colors_leave_labels_and_places(pattern):
    colors = dataclasses.replace(
        ALL_CHANGES,
        scale_step=CROP.scale_step,
        scale_area_bias=0.0,
        rotation=rotation.Rotation(),
    )
    plain = take(make_deterministic(pattern), 6)
    changed = take(make_deterministic(pattern, colors), 6)
    for before, after in zip(plain, changed, strict=True):
        assert_batches_equal([before["targets"]], [after["targets"]])
        assert (before["image"] != after["image"]).any()


@pytest.mark.parametrize(
    "start_step", [3, pytest.param(20, marks=pytest.mark.slow)]
)
def test_starting_at_a_step_gives_the_batches_from_there(pattern, start_step):
    batches = take(make_deterministic(pattern), start_step + 4)
    restarted = make_deterministic(pattern, start_step=start_step)
    assert_batches_equal(batches[start_step:], take(restarted, 4))


@pytest.mark.slow
def test_the_order_of_the_shards_on_disk_does_not_matter(
    pattern, tmp_path, write_records
):
    again = write_records(tmp_path)
    assert_batches_equal(
        take(make_deterministic(pattern), 4), take(make_deterministic(again), 4)
    )


@pytest.mark.parametrize(("pipelines", "replicas"), [(1, 2), (2, 4)])
def test_workers_share_the_batches_of_one(pattern, pipelines, replicas):
    expected = take(make_deterministic(pattern, batch_size=8), 5)
    shares = [
        take(
            make_deterministic(
                pattern,
                batch_size=8,
                input_context=tf.distribute.InputContext(
                    pipelines, pipeline_id, replicas
                ),
            ),
            5 * replicas // pipelines,
        )
        for pipeline_id in range(pipelines)
    ]
    per_pipeline = replicas // pipelines
    for step, batch in enumerate(expected):
        parts = [
            part["image"]
            for share in shares
            for part in share[step * per_pipeline : (step + 1) * per_pipeline]
        ]
        assert {len(part) for part in parts} == {8 // replicas}
        np.testing.assert_array_equal(np.concatenate(parts), batch["image"])


@pytest.mark.parametrize(
    "pipelines", [2, pytest.param(4, marks=pytest.mark.slow)]
)
def test_workers_stream_different_records(pattern, pipelines):
    names = [
        set(
            get_names(
                take(
                    make_training(
                        pattern,
                        batch_size=pipelines,
                        shuffle_buffer_size=1,
                        input_context=tf.distribute.InputContext(
                            pipelines, pipeline_id, pipelines
                        ),
                    ),
                    8,
                )
            )
        )
        for pipeline_id in range(pipelines)
    ]
    assert all(names)
    if pipelines == 2:  # Fewer than files: no file is read twice.
        assert not names[0] & names[1]


def test_a_batch_that_the_replicas_cannot_share_is_refused():
    context = tf.distribute.InputContext(1, 0, 4)
    with pytest.raises(errors.ConfigError, match=r"batch_size is 6.*4 or 8"):
        sources.compute_share(6, context)


@pytest.mark.slow
def test_one_record_fills_a_larger_batch(tmp_path, write_records):
    pattern = write_records(tmp_path, count=1, num_shards=1)
    for options in ({"deterministic": True, "seed": 0}, {}):
        (batch,) = take(make_training(pattern, batch_size=8, **options), 1)
        assert set(batch["name"]) == {b"image_0"}
        assert len(np.unique(batch["image"].sum((1, 2, 3)))) > 1


def test_image_and_label_move_together(tmp_path):
    size = (30, 40)
    label = np.arange(1200).reshape(size) % 250
    stream = io.BytesIO()
    Image.fromarray(np.repeat(label[..., None], 3, 2).astype(np.uint8)).save(
        stream, format="PNG"
    )
    record = record_features.encode_example(
        name="x",
        image=stream.getvalue(),
        image_format="png",
        size=size,
        panoptic=label,
    )
    record_writer.write_shards([record], 1, str(tmp_path), "train", 1)
    data = pipeline.make_training_dataset(
        [str(tmp_path / "train-*.tfrecord")],
        RULES,
        Preprocessing((33, 33)),
        lambda panoptic: {"panoptic": panoptic},
        pipeline.Reading(seed=0),
        batch_size=20,
    )
    (batch,) = take(data, 1)
    panoptic = batch["targets"]["panoptic"]
    expected = np.where(panoptic == RULES.void, 127.5, panoptic)
    np.testing.assert_array_equal(batch["image"][..., 1], expected)
    assert (panoptic == RULES.void).any()


def test_an_unknown_policy_stops_with_a_sentence(pattern):
    options = Preprocessing((33, 33), autoaugment_policy_name="a_policy")
    with pytest.raises(
        errors.ConfigError, match="'a_policy', which is no policy"
    ):
        make_training(pattern, options)


def test_bad_labels_stop_training_with_a_sentence(tmp_path, write_records):
    pattern = write_records(tmp_path)
    narrow = pipeline.LabelRules(2, 255, 1000)
    data = pipeline.make_training_dataset(
        [pattern], narrow, CROP, make_targets, batch_size=4
    )
    with pytest.raises(tf.errors.InvalidArgumentError) as caught:
        take(data, 1)
    message = str(graph_errors.as_data_error(caught.value))
    assert message.startswith("The label of image 'image_")
    assert "class ids [2]" in message


@pytest.mark.slow
def test_damage_is_an_error_or_skipped(
    tmp_path, make_evaluation, write_records
):
    pattern = write_records(tmp_path)
    path = tmp_path / "train-00001-of-00003.tfrecord"
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(errors.DataError, match=r"train-00001.* cut off"):
        make_deterministic(pattern)
    with pytest.raises(tf.errors.DataLossError) as caught:
        take(make_training(pattern), 20)
    assert "record file" in str(graph_errors.as_data_error(caught.value))
    for options in ({"deterministic": True, "seed": 0}, {}):
        data = make_training(pattern, on_damage="skip", **options)
        # Of 160 examples drawn at random none of 10 is missed, but by 5e-7.
        assert set(get_names(take(data, 40))) == {
            f"image_{index}" for index in range(11) if index != 7
        }
    with pytest.raises(errors.DataError, match=r"train-00001.* cut off"):
        make_evaluation(pattern)


def test_a_damaged_checksum_is_an_error(
    tmp_path, make_evaluation, write_records
):
    pattern = write_records(tmp_path, count=1, num_shards=1)
    path = tmp_path / "train-00000-of-00001.tfrecord"
    content = bytearray(path.read_bytes())
    content[200] ^= 255
    path.write_bytes(content)
    for data in (make_deterministic(pattern), make_evaluation(pattern)):
        with pytest.raises(tf.errors.DataLossError) as caught:
            take(data, 1)
        message = str(graph_errors.as_data_error(caught.value))
        assert "damaged" in message


def test_the_input_scale_acts_in_training_and_evaluation(
    pattern, make_evaluation
):
    options = Preprocessing(
        (17, 17), pad_to_multiple_of=16, input_scale_factor=2.0
    )
    batch = take(make_evaluation(pattern, options), 1)[0]
    np.testing.assert_array_equal(batch["valid_size"], [[40, 90]])
    assert batch["image"].shape == (1, 49, 97, 3)
    assert batch["panoptic"].shape == (1, 20, 45)
    # At scale 2 every image fills the canvas, at scale 1 none does.
    for scale, is_filled in ((1.0, False), (2.0, True)):
        options = Preprocessing((33, 33), input_scale_factor=scale)
        data = make_training(pattern, options, batch_size=11, seed=0)
        filled = (take(data, 1)[0]["targets"]["semantic"] < 3).all((1, 2))
        assert filled.all() == is_filled


def test_missing_records_are_refused(make_evaluation):
    with pytest.raises(errors.DataError, match="matches no file"):
        make_training("/nowhere/train-*.tfrecord")
    with pytest.raises(errors.DataError, match="no file pattern"):
        make_evaluation("")
