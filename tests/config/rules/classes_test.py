# SPDX-License-Identifier: Apache-2.0
"""Classes that cannot be learned, told apart or numbered."""

import pytest

from deeplab2_like import config
from deeplab2_like.config import check_main

_CELLS = """\
name: "cells"
ignore_label: 255
label_divisor: 1000
classes { name: "cell" is_thing: true }
"""
_COLORS = """\
name: "farm"
ignore_label: 2
label_divisor: 1000
classes { name: "field" color: [90, 160, 60] }
classes { name: "barn" is_thing: true color: [90, 160, 60] }
classes { name: "void" color: [90, 160, 60] }
classes { name: "tree" color: [1, 2, 3] }
"""


@pytest.fixture
def write_descriptor(tmp_path):
    """Returns a function that writes a descriptor and returns overrides."""

    def write(text):
        file = tmp_path / "own.textproto"
        file.write_text(text)
        return (
            f'train_dataset_options {{ dataset: "{file}" }}',
            f'eval_dataset_options {{ dataset: "{file}" }}',
        )

    return write


def test_one_class_and_void_teaches_a_softmax_nothing(
    find_warnings, write_descriptor
):
    (found,) = find_warnings(*write_descriptor(_CELLS))
    assert found.path == "train_dataset_options.dataset"
    assert '"cell" is its only class besides void' in found.rule
    assert "background" in found.fix


def test_a_class_that_stands_for_void_is_not_a_second_one(
    find_warnings, write_descriptor
):
    text = _CELLS.replace("255", "1") + 'classes { name: "rest" }\n'
    (found,) = find_warnings(*write_descriptor(text))
    assert "only class besides void" in found.rule
    two = _CELLS + 'classes { name: "rest" }\n'
    assert not find_warnings(*write_descriptor(two))


_FPN_LOSSES = """semantic_loss { name: "softmax_cross_entropy" }
    proposal_loss { name: "sigmoid_cross_entropy" }
    proposal_box_loss { name: "l1" }
    class_loss { name: "softmax_cross_entropy" }
    box_loss { name: "l1" }
    mask_loss { name: "sigmoid_cross_entropy" }"""


@pytest.mark.parametrize(
    ("semantic", "classes", "is_warned"),
    [
        ("", ["true", "true"], True),  # All things share the only channel.
        ("", ["true", "true", "false"], False),
        ("semantic { separate_things: true }", ["true", "true"], False),
        ("semantic { enable: false }", ["true"], False),
    ],
)
def test_what_counts_is_the_number_of_channels(
    find_in_pyramid, find_warnings, tmp_path, semantic, classes, is_warned
):
    file = tmp_path / "own.textproto"
    lines = _CELLS.splitlines()[:3] + [
        f'classes {{ name: "c{index}" is_thing: {is_thing} }}'
        for index, is_thing in enumerate(classes)
    ]
    file.write_text("\n".join(lines))
    losses = _FPN_LOSSES
    if "enable" in semantic:
        losses = losses.partition("\n")[2]

    def find(text):
        return find_warnings(
            text=text.replace("cityscapes_panoptic", str(file))
        )

    system = f"panoptic_fpn {{ {semantic} }}"
    paths = find_in_pyramid(find, system, losses)
    assert paths == ({"train_dataset_options.dataset"} if is_warned else set())


def test_classes_of_one_color_are_named(find_warnings, write_descriptor):
    (found,) = find_warnings(*write_descriptor(_COLORS))
    assert found.rule.startswith('"field" and "barn" have the same color')
    assert "(90, 160, 60)" in found.rule


@pytest.mark.parametrize(
    ("text", "path", "words"),
    [
        (_CELLS, "classes", "softmax over one class"),
        (_COLORS, "classes[1].color", "have the same color"),
    ],
)
def test_the_check_of_a_descriptor_prints_the_warning(
    tmp_path, capsys, text, path, words
):
    file = tmp_path / "own.textproto"
    header = "# proto-message: deeplab2_like.DatasetDescriptor\n"
    file.write_text(header + text)
    assert check_main.check_file(str(file))
    out = capsys.readouterr().out
    assert words in out
    assert "ok" in out
    (found,) = config.list_dataset_warnings(config.load_dataset(str(file)))
    assert found.path == path


@pytest.mark.parametrize("name", config.list_datasets())
def test_shipped_descriptors_have_no_warning(name):
    assert not config.list_dataset_warnings(config.load_dataset(name))


def _predict(*fields):
    return (
        f"evaluator_options {{ save_raw_predictions: true {' '.join(fields)} }}"
    )


@pytest.mark.parametrize(
    ("fields", "fix"),
    [
        (["keep_k_centers: 255"], None),
        (["keep_k_centers: 256"], "three_channel_png"),
        (["keep_k_centers: 0"], "three_channel_png"),  # No limit.
        (["raw_panoptic_format: 'three_channel_png'"], None),
    ],
)
def test_more_instances_than_a_format_can_number_are_a_warning(
    find_warnings, fields, fix
):
    found = [
        problem
        for problem in find_warnings(_predict(*fields))
        if problem.path == "evaluator_options.raw_panoptic_format"
    ]
    assert bool(found) == (fix is not None)
    if found:
        assert fix in found[0].fix
        assert "ends the evaluation" in found[0].rule


def test_no_limit_of_centers_is_more_than_the_ids_of_a_class(find_warnings):
    (found,) = find_warnings("evaluator_options { keep_k_centers: 0 }")
    assert found.path == "evaluator_options.keep_k_centers"
    assert "at most 999 instances" in found.rule


def test_classes_beyond_a_byte_do_not_fit_into_raw_predictions(
    find_warnings, write_descriptor
):
    text = _COLORS.replace(
        '{ name: "tree" color: [1, 2, 3] }',
        '{ name: "tree" category_id: 300 }',
    ).replace("[90, 160, 60]", "[]")
    overrides = write_descriptor(text)
    keep = "keep_k_centers: 50"
    (found,) = find_warnings(*overrides, _predict(keep))
    assert found.path == "evaluator_options.save_raw_predictions"
    assert "class id 300" in found.rule
    off = _predict(keep, "convert_raw_to_eval_ids: false")
    assert not find_warnings(*overrides, off)
