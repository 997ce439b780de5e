# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.config import InvalidConfigError, textproto
from deeplab2_like.protos import config_pb2


def parse(text):
    message = config_pb2.ExperimentOptions()
    places, _ = textproto.parse(text, message, "a.textproto")
    return message, {path: place.line for path, place in places.items()}


def problems_of(text):
    with pytest.raises(InvalidConfigError) as caught:
        parse(text)
    return caught.value.problems


def test_every_field_knows_its_line():
    _, lines = parse(
        "# a comment\n"
        "train_dataset_options {\n"
        "  crop_size: 1 # first\n"
        "  crop_size: 2\n"
        "}\n"
        'model_options: < backbone { name: "a" "b" } ;\n'
        "  panoptic_deeplab {\n"
        '    low_level: [{ feature_key: "res3" },\n'
        "      { channels_project: 3, }]\n"
        "  }\n"
        ">\n"
    )
    assert lines["train_dataset_options"] == 2
    assert lines["train_dataset_options.crop_size[0]"] == 3
    assert lines["train_dataset_options.crop_size[1]"] == 4
    assert lines["model_options.backbone.name"] == 6
    low_level = "model_options.panoptic_deeplab.low_level"
    assert lines[f"{low_level}[0].feature_key"] == 8
    assert lines[f"{low_level}[1].channels_project"] == 9


def test_all_unknown_fields_are_reported_with_line_column_and_nearest_name():
    found = problems_of(
        "evaluator_options {\n  nms_kernle: 3\n}\n"
        "  trainer_option { seed: 1 }\n"
    )
    assert [(p.line, p.column) for p in found] == [(2, 3), (4, 3)]
    assert "nms_kernle is an unknown field" in found[0].rule
    assert "has: nms_kernel, " in found[0].rule
    assert "has: trainer_options, " in found[1].rule
    assert str(found[0]).startswith("a.textproto:2:3: ")


@pytest.mark.parametrize(
    ("field", "rule"),
    [
        ("nms_kernel: 1.5", "an integer"),
        ("nms_kernel: 3000000000", "an integer"),
        ('nms_kernel: "3"', "an integer"),
        ("nms_kernel { }", "not a message"),
        ("use_tf_function: maybe", "true or false"),
        ("center_score_threshold: high", "a number"),
        ("override_save_dir: here", "a text in quotes"),
        ("pq_variant: COCO", "PANOPTICAPI or DEEPLAB2"),
        ('pq_variant: "DEEPLAB2"', "PANOPTICAPI or DEEPLAB2"),
        ("maskwise_postprocessing: 3", "is a message"),
    ],
)
def test_a_value_of_the_wrong_type_says_what_is_allowed(field, rule):
    (found,) = problems_of("evaluator_options {\n " + field + "\n}")
    assert rule in str(found)
    assert found.line == 2
    assert found.path.startswith("evaluator_options.")


def test_wrong_types_and_unknown_fields_are_reported_together():
    found = problems_of(
        "experiment_name: 3\nfoo: 1\ntrain_dataset_options { sigma: x }"
    )
    assert [p.line for p in found] == [1, 2, 3]


@pytest.mark.parametrize(
    "text",
    [
        "evaluator_options {",
        'experiment_name: "a',
        "experiment_name: ",
        "}",
        "experiment_name = 'a'",
        "evaluator_options { nms_kernel: 3 nms_kernel: 4 }",
        "\x01\x02",
        "x",
    ],
)
def test_what_is_not_text_format_is_one_problem_with_a_line(text):
    (found,) = problems_of(text)
    assert found.line == 1
    assert str(found).startswith("a.textproto:1:")


def test_two_systems_in_one_config_are_refused():
    (found,) = problems_of(
        "model_options {\n deeplab_v3 { }\n panoptic_deeplab { }\n}"
    )
    assert "oneof" in found.rule


def test_numbers_in_all_notations_are_accepted():
    message, _ = parse(
        "evaluator_options { nms_kernel: 0x10 stuff_area_limit: 010\n"
        "center_score_threshold: 1e-1 eval_steps: -1 eval_scales: [1, .5, 2.f]"
        "}"
    )
    assert message.evaluator_options.nms_kernel == 16
    assert message.evaluator_options.stuff_area_limit == 8
    assert list(message.evaluator_options.eval_scales) == [1.0, 0.5, 2.0]
