# SPDX-License-Identifier: Apache-2.0
"""The rules of weights of classes in the semantic loss."""

import pytest

_PATH = "trainer_options.loss_options.semantic_loss"


def _semantic(text):
    return (
        f"trainer_options {{ loss_options {{ semantic_loss {{ {text} }} }} }}"
    )


@pytest.mark.parametrize(
    "text",
    [
        "class_weight { name: 'pole' weight: 3 }",
        "class_weight [{ name: 'pole' weight: 3 }, { name: 'rider' }]",
        f"class_weights: [{', '.join(['1.5'] * 19)}]",
        "balance: MEDIAN_FREQUENCY",
        "balance: INVERSE_FREQUENCY max_class_weight: 20",
    ],
)
def test_weights_are_given_by_name_as_a_list_or_counted(
    find_problems, find_warnings, text
):
    assert not find_problems(_semantic(text))
    assert not find_warnings(_semantic(text))


def test_an_unknown_class_is_named_with_the_nearest(find_problems):
    (found,) = find_problems(
        _semantic("class_weight { name: 'polle' weight: 3 }")
    )
    assert found.path == f"{_PATH}.class_weight[0].name"
    assert "has no class of this name" in found.rule
    assert found.fix.startswith("Classes: pole, ")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("class_weight { weight: 3 }", "it is required"),
        ("class_weight [{ name: 'pole' }, { name: 'pole' }]", "already"),
        ("class_weight { name: 'pole' weight: 0 }", "above 0"),
        ("class_weight { name: 'pole' weight: inf }", "above 0"),
        ("class_weights: [1, 2]", "has 2 of the 19 values"),
        (f"class_weights: [{', '.join(['1'] * 18)}, -1]", "above 0"),
        ("max_class_weight: 0 balance: MEDIAN_FREQUENCY", "above 0"),
        (
            "balance: MEDIAN_FREQUENCY class_weight { name: 'pole' }",
            "class_weight and balance, which exclude each other",
        ),
    ],
)
def test_wrong_weights_are_one_sentence(find_problems, text, complaint):
    (found,) = find_problems(_semantic(text))
    assert complaint in f"{found.path} {found.rule}"


def test_a_number_for_a_message_is_reported(find_problems):
    found = find_problems(_semantic("class_weight: [1, 2]"))
    assert any("class_weight" in str(problem) for problem in found)


def test_weights_of_other_losses_have_no_effect(find_warnings):
    (found,) = find_warnings(
        "trainer_options { loss_options { center_loss { balance: "
        "MEDIAN_FREQUENCY } } }"
    )
    assert "only semantic_loss has weights of classes" in found.rule


def test_a_limit_without_a_balance_has_no_effect(find_warnings):
    (found,) = find_warnings(_semantic("max_class_weight: 20"))
    assert found.path == f"{_PATH}.max_class_weight"


_SYSTEM = "panoptic_fpn { pyramid_channels: 64 }"
_LOSSES = """semantic_loss { name: "softmax_cross_entropy" WEIGHTS }
    proposal_loss { name: "sigmoid_cross_entropy" }
    proposal_box_loss { name: "l1" }
    class_loss { name: "softmax_cross_entropy" }
    box_loss { name: "l1" }
    mask_loss { name: "sigmoid_cross_entropy" }"""


@pytest.mark.parametrize(
    ("weights", "system", "is_wrong"),
    [
        ("class_weight { name: 'rider' weight: 3 }", _SYSTEM, True),
        ("class_weight { name: 'pole' weight: 3 }", _SYSTEM, False),
        (
            "class_weight { name: 'rider' weight: 3 }",
            _SYSTEM.replace("}", "semantic { separate_things: true } }"),
            False,
        ),
    ],
)
def test_things_that_share_a_channel_have_one_weight(
    find_in_pyramid, find_problems, weights, system, is_wrong
):
    losses = _LOSSES.replace("WEIGHTS", weights)
    paths = find_in_pyramid(find_problems, system, losses)
    assert paths == ({f"{_PATH}.class_weight"} if is_wrong else set())
