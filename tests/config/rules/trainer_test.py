# SPDX-License-Identifier: Apache-2.0
"""The rules of losses and schedules."""


def test_each_output_has_its_own_losses(find_problems):
    found = find_problems(
        "trainer_options { loss_options { semantic_loss { name: 'l1' } "
        "center_loss { name: 'softmax_cross_entropy' } } }"
    )
    assert len(found) == 2
    assert "softmax_cross_entropy" in found[0].rule
    assert "l1 or mse" in found[1].rule


def test_the_warm_up_is_shorter_than_the_training(find_problems):
    (found,) = find_problems(
        "trainer_options { solver_options { "
        "warmup_steps: 100 training_number_of_steps: 100 } }"
    )
    assert found.path == "trainer_options.solver_options.warmup_steps"


def test_summaries_are_written_at_the_end_of_loops(find_problems):
    (found,) = find_problems(
        "trainer_options { save_summaries_steps: 150 steps_per_loop: 100 }"
    )
    assert found.path == "trainer_options.save_summaries_steps"
    assert "save_summaries_steps: 200" in found.fix


def test_a_data_service_has_an_address(find_problems):
    for address in ("host", "host:", ":5050", "host:70000"):
        (found,) = find_problems(
            "train_dataset_options { data_service_address: '%s' }" % address  # noqa: UP031
        )
        assert found.path == "train_dataset_options.data_service_address"
        assert "host:5050" in found.fix


def test_a_data_service_excludes_fixed_orders_and_reports(find_problems):
    service = "train_dataset_options { data_service_address: 'host:5050' "
    assert not find_problems(service + "}")
    (found,) = find_problems(
        service + "} trainer_options { deterministic: true }"
    )
    assert "not with trainer_options.deterministic" in found.rule
    for other in ("on_damage: SKIP", "mixed_file_pattern"):
        value = other if ":" in other else f"{other}: 'b-*'"
        (found,) = find_problems(f"{service} {value} }}")
        assert f"not with train_dataset_options.{other}" in found.rule


def test_early_stopping_counts_evaluations(find_problems):
    (found,) = find_problems(
        "trainer_options { early_stopping_evaluations: -1 }"
    )
    assert found.path == "trainer_options.early_stopping_evaluations"
    assert "at least 0" in found.rule


def test_early_stopping_needs_enough_evaluations(find_warnings):
    steps = (
        "trainer_options { early_stopping_evaluations: NUMBER solver_options { "
        "training_number_of_steps: 100 } } evaluator_options { eval_interval: "
        "20 }"
    )
    (found,) = find_warnings(steps.replace("NUMBER", "4"))
    assert found.path == "trainer_options.early_stopping_evaluations"
    assert "no effect" in found.rule
    assert not find_warnings(steps.replace("NUMBER", "3"))


def test_early_stopping_needs_labels(find_warnings):
    (found,) = find_warnings(
        "trainer_options { early_stopping_evaluations: 2 } "
        "eval_dataset_options { decode_groundtruth_label: false }"
    )
    assert "nothing is scored" in found.rule


def test_a_decay_without_its_optimizer_is_a_warning(find_warnings):
    (found,) = find_warnings(
        "trainer_options { solver_options { adamw_weight_decay: 0.05 } }"
    )
    assert found.path.endswith("adamw_weight_decay")


def test_a_frozen_backbone_has_no_learning_rate(find_warnings):
    frozen = (
        "model_options { initial_checkpoint: 'run/' "
        "backbone { freeze_backbone: true } }"
    )
    rate = (
        "trainer_options { solver_options { "
        "backbone_learning_rate_multiplier: 0.1 } }"
    )
    assert find_warnings(frozen) == find_warnings(rate) == []
    (found,) = find_warnings(frozen, rate)
    assert found.path.endswith("backbone_learning_rate_multiplier")
    assert "model_options.backbone.freeze_backbone" in found.rule
