# SPDX-License-Identifier: Apache-2.0
import keras
import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.trainer import optimizers, schedules, step_options, training


class LineSystem:
    """Fits y = w * x: the smallest thing that can be trained."""

    def infer_for_training(self, model, images, targets):
        del targets
        return model(images, training=True)

    def compute_losses(self, outputs, targets):
        error = tf.square(outputs["y"] - targets["y"])
        return {"error_loss": tf.reduce_sum(error, axis=1)}

    def decayed_variables(self, model):
        return [v for v in model.trainable_variables if v.name == "kernel"]


def _make_model():
    x = keras.Input([1], name="image")
    line = keras.layers.Dense(
        1, kernel_initializer=keras.initializers.Constant(1.0), name="line"
    )
    y = keras.layers.Dropout(1e-9, seed=1)(line(x))
    return keras.Model(x, {"y": y}, name="net")


def _make_dataset(xs, factor=3.0):
    xs = np.asarray(xs, np.float32)[:, None]
    batches = tf.data.Dataset.from_tensor_slices(
        {
            "image": xs,
            "targets": {"y": factor * xs},
            "name": [f"image_{i}" for i in range(len(xs))],
        }
    )
    return batches.batch(2).repeat()


def _make_trainer(dataset, rate=0.1, **kwargs):
    model = _make_model()
    schedule = schedules.LearningRate(rate, 1000, power=0.0)
    optimizer = optimizers.make_optimizer("sgd", schedule)
    groups = [optimizers.ParameterGroup(optimizer, model.trainable_variables)]
    trainer = training.Trainer(
        LineSystem(),
        model,
        dataset,
        groups,
        schedule,
        step_options.StepOptions(**kwargs),
    )
    return trainer, model


def _kernel(model):
    return float(model.get_layer("line").kernel.numpy()[0, 0])


def test_steps_count_and_move_the_weights_towards_the_targets():
    trainer, model = _make_trainer(_make_dataset([1.0, -1.0]))
    first = trainer.train(tf.constant(1))
    assert int(trainer.global_step) == 1
    # The batch mean of (1 * x - 3 * x) ** 2.
    np.testing.assert_allclose(first["losses/train_total_loss"], 4.0)
    trainer.train(tf.constant(200))
    assert int(trainer.global_step) == 201
    np.testing.assert_allclose(_kernel(model), 3.0, atol=0.05)


def test_outputs_are_means_over_the_steps_of_one_loop():
    trainer, _ = _make_trainer(_make_dataset([1.0, 1.0, 2.0, 2.0]), rate=0.0)
    outputs = trainer.train(tf.constant(2))
    np.testing.assert_allclose(outputs["losses/train_error_loss"], (4 + 16) / 2)
    outputs = trainer.train(tf.constant(1))
    np.testing.assert_allclose(outputs["losses/train_error_loss"], 4.0)


def test_weight_decay_adds_half_the_squared_weights_to_the_loss():
    plain, _ = _make_trainer(_make_dataset([1.0, 1.0]))
    decayed, model = _make_trainer(
        _make_dataset([0.0, 0.0]), rate=0.1, weight_decay=0.5
    )
    plain.train(tf.constant(1))
    outputs = decayed.train(tf.constant(1))
    np.testing.assert_allclose(outputs["losses/train_weight_decay_loss"], 0.25)
    np.testing.assert_allclose(outputs["losses/train_total_loss"], 0.25)
    np.testing.assert_allclose(_kernel(model), 1.0 - 0.1 * 0.5, rtol=1e-6)


def test_clipping_bounds_the_step():
    trainer, model = _make_trainer(
        _make_dataset([100.0, 100.0]), rate=0.1, clip_gradient_norm=1.0
    )
    outputs = trainer.train(tf.constant(1))
    assert outputs["gradient_norm"] > 1000
    bias = float(model.get_layer("line").bias.numpy()[0])
    step = np.hypot(_kernel(model) - 1.0, bias)
    np.testing.assert_allclose(step, 0.1, rtol=1e-5)


def test_a_loss_that_is_not_a_number_stops_before_it_changes_a_weight():
    xs = [1.0, 1.0, 1.0, 1.0, 1.0, np.nan, 1.0, 1.0]
    trainer, model = _make_trainer(_make_dataset(xs), rate=0.01)
    trainer.train(tf.constant(2))
    before = _kernel(model)
    with pytest.raises(tf.errors.InvalidArgumentError) as info:
        trainer.train(tf.constant(2))
    assert _kernel(model) == before
    text = str(training.as_training_error(info.value))
    for part in ("step 2", "error_loss nan", "image_4", "image_5"):
        assert part in text
    assert "learning rate 0.01" in text


def test_other_failures_are_not_mistaken_for_it():
    assert training.as_training_error(ValueError("shapes differ")) is None


def test_a_loss_that_grows_beyond_numbers_is_reported_after_the_loop():
    trainer, _ = _make_trainer(_make_dataset([1.0, 1.0]))
    trainer._is_tpu = True  # Compiled steps cannot stop by themselves.
    trainer.train_dataset = _make_dataset([np.inf, 1.0])
    with pytest.raises(errors.TrainingError, match="steps up to 1"):
        trainer.train(tf.constant(1))


def test_the_state_has_weights_optimizer_and_random_generators():
    trainer, model = _make_trainer(_make_dataset([1.0, 1.0]), average_decay=0.9)
    state = trainer.state()
    assert set(state["variables"]) == {"line/kernel", "line/bias"}
    assert list(state["random"]) == ["0"]
    assert any("iteration" in name for name in state["optimizer"])
    assert set(state["average"]) == set(state["variables"])
    assert len(model.variables) == 3


@pytest.mark.parametrize(
    ("share", "most", "parts"),
    [(8, 0, 1), (8, 8, 1), (8, 4, 2), (8, 3, 4), (6, 4, 2), (7, 2, 7)],
)
def test_shares_are_computed_in_equal_parts(share, most, parts):
    assert step_options.choose_parts(share, most) == parts


def test_steps_in_parts_are_those_of_the_whole_batch():
    xs = [1.0, -0.5, 0.25, 2.0]
    found = []
    for parts in (1, 2, 4):
        dataset = _make_dataset(xs).unbatch().batch(4)
        trainer, model = _make_trainer(
            dataset, rate=0.03, clip_gradient_norm=1.0, parts=parts
        )
        outputs = trainer.train(tf.constant(3))
        numbers = {name: float(value) for name, value in outputs.items()}
        found.append(numbers | {"kernel": _kernel(model)})
    for other in found[1:]:
        assert other == pytest.approx(found[0], rel=1e-5)
    assert found[0]["kernel"] != 1.0
