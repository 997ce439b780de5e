# SPDX-License-Identifier: Apache-2.0
"""The rules of Panoptic FPN."""

import pytest

_TEXT = "panoptic_fpn { semantic { channels: 64 } instance { channels: 64 } }"
_LOSS_TEXT = """
    semantic_loss { name: "softmax_cross_entropy" weight: 0.5 }
    proposal_loss { name: "sigmoid_cross_entropy" }
    proposal_box_loss { name: "l1" }
    class_loss { name: "softmax_cross_entropy" }
    box_loss { name: "l1" }
    mask_loss { name: "sigmoid_cross_entropy" }
"""
_LOSSES = "trainer_options.loss_options"
_SYSTEM = "model_options.panoptic_fpn"


@pytest.fixture
def find_paths(find_in_pyramid):
    """Returns a function that lists the paths of problems of a changed text."""

    def find_paths(find, *change, system=_TEXT):
        return find_in_pyramid(find, system, _LOSS_TEXT, *change)

    return find_paths


def test_both_splits_have_the_same_remainder(find_paths, find_problems):
    old = "eval_dataset_options {"
    new = f"{old} canvas_remainder: 0"
    path = "eval_dataset_options.canvas_remainder"
    assert path in find_paths(find_problems, old, new)


def test_the_valid_config_has_no_findings(
    find_paths, find_problems, find_warnings
):
    assert find_paths(find_problems) == set()
    assert find_paths(find_warnings) == set()


@pytest.mark.parametrize(
    ("old", "new", "path"),
    [
        (
            "output_stride: 32",
            "output_stride: 16",
            "model_options.backbone.output_stride",
        ),
        (
            "semantic { channels: 64",
            "semantic { channels: 48",
            "semantic.channels",
        ),
        (
            "instance { channels: 64",
            "instance { anchor_size: [8, 16]",
            "instance.anchor_size",
        ),
        ('    mask_loss { name: "sigmoid_cross_entropy" }\n', "", "mask_loss"),
        (
            'box_loss { name: "l1" }',
            'box_loss { name: "mse" }',
            "proposal_box_loss.name",
        ),
        (
            "stuff_area_limit: 2048",
            "add_flipped_images: true",
            "evaluator_options.add_flipped_images",
        ),
        (
            "stuff_area_limit: 2048",
            "eval_scales: [0.5, 1.0]",
            "evaluator_options.eval_scales",
        ),
    ],
)
def test_each_rule_names_its_field(old, new, path, find_paths, find_problems):
    paths = find_paths(find_problems, old, new)
    allowed = {path, f"{_SYSTEM}.{path}", f"{_LOSSES}.{path}"}
    assert len(paths) == 1
    assert paths & allowed


def test_a_model_needs_a_branch(find_paths, find_problems):
    system = _TEXT.replace("channels: 64", "enable: false")
    paths = find_paths(find_problems, system=system)
    assert f"{_SYSTEM}.semantic.enable" in paths


def test_losses_of_missing_branches_have_no_effect(find_paths, find_warnings):
    paths = find_paths(
        find_warnings, "semantic { channels: 64", "semantic { enable: false"
    )
    assert paths == {f"{_LOSSES}.semantic_loss"}


def test_more_detections_than_ids_are_named(find_paths, find_warnings):
    paths = find_paths(
        find_warnings, "instance {", "instance { max_detections: 1000"
    )
    assert paths == {"model_options.panoptic_fpn.instance.max_detections"}
    paths = find_paths(
        find_warnings, "instance {", "instance { max_detections: 999"
    )
    assert paths == set()


def test_a_decoder_has_no_effect(find_paths, find_warnings):
    paths = find_paths(
        find_warnings,
        "  panoptic_fpn {",
        '  decoder { feature_key: "res5" }\n  panoptic_fpn {',
    )
    assert paths == {"model_options.decoder"}


def test_losses_of_this_system_have_no_effect_on_others(
    find_warnings, valid_text
):
    text = valid_text.replace(
        "  loss_options {",
        '  loss_options {\n    mask_loss { name: "sigmoid_cross_entropy" }',
    )
    assert f"{_LOSSES}.mask_loss" in {
        problem.path for problem in find_warnings(text=text)
    }
