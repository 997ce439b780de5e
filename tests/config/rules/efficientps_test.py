# SPDX-License-Identifier: Apache-2.0
"""The rules of EfficientPS."""

import pytest

_BRANCHES = {
    "mask_rcnn": (
        "mask_rcnn { channels: 64 }",
        """
    proposal_loss { name: "sigmoid_cross_entropy" }
    proposal_box_loss { name: "l1" }
    class_loss { name: "softmax_cross_entropy" }
    box_loss { name: "l1" }
    mask_loss { name: "sigmoid_cross_entropy" }
""",
    ),
    "solov2": (
        "solov2 { channels: 64 }",
        """
    cell_loss { name: "sigmoid_focal" }
    mask_loss { name: "dice" }
""",
    ),
}
_SEMANTIC = (
    'semantic_loss { name: "softmax_cross_entropy" top_k_percent: 0.25 }'
)
_SYSTEM = "model_options.efficientps"
_LOSSES = "trainer_options.loss_options"


@pytest.fixture
def find_paths(find_in_pyramid):
    """Returns a function that lists the paths of problems with a branch."""

    def find_paths(find, branch, *change):
        written, losses = _BRANCHES[branch]
        system = f"efficientps {{ semantic {{ channels: 64 }} {written} }}"
        return find_in_pyramid(find, system, _SEMANTIC + losses, *change)

    return find_paths


@pytest.mark.parametrize("branch", _BRANCHES)
def test_the_valid_config_has_no_findings(
    branch, find_paths, find_problems, find_warnings
):
    assert find_paths(find_problems, branch) == set()
    assert find_paths(find_warnings, branch) == set()


@pytest.mark.parametrize(
    ("branch", "old", "new", "path"),
    [
        ("mask_rcnn", "output_stride: 32", "output_stride: 16", None),
        (
            "mask_rcnn",
            "mask_rcnn { channels: 64 }",
            "mask_rcnn { enable: false }",
            f"{_SYSTEM}.mask_rcnn.enable",
        ),
        (
            "mask_rcnn",
            "mask_rcnn { channels: 64 }",
            "mask_rcnn { anchor_size: [8, 16, 32, 64, 128] }",
            f"{_SYSTEM}.mask_rcnn.anchor_size",
        ),
        (
            "solov2",
            "solov2 { channels: 64 }",
            "solov2 { channels: 48 }",
            f"{_SYSTEM}.solov2.channels",
        ),
        (
            "solov2",
            "solov2 { channels: 64 }",
            "solov2 { grid: [40, 36] }",
            f"{_SYSTEM}.solov2.grid",
        ),
        (
            "solov2",
            "solov2 { channels: 64 }",
            "solov2 { smallest_size: [1, 2, 3, 4, 9] "
            "largest_size: [5, 6, 7, 8, 8] }",
            f"{_SYSTEM}.solov2.smallest_size",
        ),
        (
            "solov2",
            "solov2 { channels: 64 }",
            "solov2 { smallest_size: [1, 500, 20, 20, 20] }",
            f"{_SYSTEM}.solov2.smallest_size",
        ),
        (
            "solov2",
            "solov2 { channels: 64 }",
            "solov2 { largest_size: [96, 40, 384, 768, 2048] }",
            f"{_SYSTEM}.solov2.largest_size",
        ),
        (
            "solov2",
            "solov2 { channels: 64 }",
            "solov2 { smallest_mask: [1, 2] }",
            f"{_SYSTEM}.solov2.smallest_mask",
        ),
        (
            "solov2",
            "solov2 { channels: 64 }",
            'solov2 { decay: "cubic" }',
            f"{_SYSTEM}.solov2.decay",
        ),
        (
            "solov2",
            'mask_loss { name: "dice" }',
            'mask_loss { name: "sigmoid_cross_entropy" }',
            f"{_LOSSES}.mask_loss.name",
        ),
        (
            "solov2",
            'cell_loss { name: "sigmoid_focal" }',
            "",
            f"{_LOSSES}.cell_loss",
        ),
        (
            "mask_rcnn",
            "semantic { channels: 64 }",
            'pyramid_conv_type: "dense"',
            f"{_SYSTEM}.pyramid_conv_type",
        ),
        (
            "mask_rcnn",
            'name: "resnet50"',
            'name: "resnet50" activation: "leaky_relu"',
            "model_options.backbone.activation",
        ),
    ],
)
def test_each_rule_names_its_field(
    branch, old, new, path, find_paths, find_problems
):
    path = path or "model_options.backbone.output_stride"
    assert find_paths(find_problems, branch, old, new) == {path}


def test_a_branch_that_finds_objects_is_needed(find_paths, find_problems):
    paths = find_paths(find_problems, "solov2", "solov2 { channels: 64 }", "")
    assert paths == {_SYSTEM}


def test_losses_of_missing_branches_have_no_effect(find_paths, find_warnings):
    paths = find_paths(
        find_warnings,
        "solov2",
        "semantic { channels: 64",
        "semantic { enable: false",
    )
    assert paths == {f"{_LOSSES}.semantic_loss"}
    paths = find_paths(
        find_warnings,
        "solov2",
        'mask_loss { name: "dice" }',
        'mask_loss { name: "dice" } box_loss { name: "l1" }',
    )
    assert paths == {f"{_LOSSES}.box_loss"}


@pytest.mark.parametrize(
    ("branch", "old", "new", "path"),
    [
        (
            "solov2",
            "solov2 { channels: 64 }",
            "solov2 { largest_size: [40, 192, 384, 768, 2048] }",
            f"{_SYSTEM}.solov2.largest_size",
        ),
        (
            "solov2",
            "solov2 { channels: 64 }",
            "solov2 { max_masks: 50 }",
            f"{_SYSTEM}.solov2.max_masks",
        ),
        *(
            (
                branch,
                f"{branch} {{",
                f"{branch} {{ max_detections: 1000",
                f"{_SYSTEM}.{branch}.max_detections",
            )
            for branch in _BRANCHES
        ),
        (
            "solov2",
            "  batch_size: 8\n  crop_size: [97, 129]",
            "  batch_size: 8\n  crop_size: [65, 129]",
            "eval_dataset_options.crop_size",
        ),
        (
            "mask_rcnn",
            "  batch_size: 8\n",
            "  batch_size: 8\n  increase_small_instance_weights: true\n",
            "train_dataset_options.increase_small_instance_weights",
        ),
        (
            "mask_rcnn",
            "stuff_area_limit: 2048",
            "stuff_area_limit: 2048 nms_kernel: 7",
            "evaluator_options.nms_kernel",
        ),
        (
            "mask_rcnn",
            'mask_loss { name: "sigmoid_cross_entropy" }',
            'mask_loss { name: "sigmoid_cross_entropy" top_k_percent: 0.5 }',
            f"{_LOSSES}.mask_loss.top_k_percent",
        ),
    ],
)
def test_what_is_no_use_is_named(
    branch, old, new, path, find_paths, find_warnings
):
    assert find_paths(find_warnings, branch, old, new) == {path}


def test_other_crops_are_no_matter_for_boxes(find_paths, find_warnings):
    paths = find_paths(
        find_warnings, "mask_rcnn", "8\n  crop_size: [97", "8\n  crop_size: [65"
    )
    assert paths == set()


def test_its_losses_have_no_effect_on_others(find_warnings, valid_text):
    text = valid_text.replace(
        "  loss_options {",
        '  loss_options {\n    cell_loss { name: "sigmoid_focal" }',
    )
    assert f"{_LOSSES}.cell_loss" in {
        problem.path for problem in find_warnings(text=text)
    }


def test_leaky_relu_means_no_published_gates(find_paths, find_warnings):
    paths = find_paths(
        find_warnings,
        "mask_rcnn",
        'name: "resnet50"',
        'name: "efficientnet_b0" activation: "leaky_relu"',
    )
    assert paths == set()
