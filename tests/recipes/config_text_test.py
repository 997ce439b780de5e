# SPDX-License-Identifier: Apache-2.0
import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from deeplab2_like.protos import config_pb2
from deeplab2_like.recipes import config_text
from deeplab2_like.recipes.choice import Choice, Word


def parse(*choices):
    text = config_text.write_config(choices)
    return text_format.Parse(text, config_pb2.ExperimentOptions())


def test_fields_become_messages_and_reasons_comments():
    text = config_text.write_config(
        [
            Choice("trainer_options.seed", 3, "Because of this."),
            Choice("experiment_name", 'a "b"'),
            Choice("trainer_options.deterministic", True),
            Choice("eval_dataset_options.crop_size", [33, 65], "word " * 40),
        ],
        ["First line.", ""],
    )
    assert "# First line.\n#\n\ntrainer_options {\n" in text
    assert "  # Because of this.\n  seed: 3\n  deterministic: true\n" in text
    assert max(map(len, text.splitlines())) <= 80
    options = text_format.Parse(text, config_pb2.ExperimentOptions())
    assert options.experiment_name == 'a "b"'
    assert list(options.eval_dataset_options.crop_size) == [33, 65]


def test_repeated_messages_and_names_of_values():
    model = "model_options.panoptic_deeplab.low_level"
    options = parse(
        Choice(f"{model}[0].feature_key", "res3"),
        Choice(f"{model}[1].feature_key", "res2"),
        Choice("eval_dataset_options.padding_mode", Word("REFLECT")),
    )
    keys = [
        level.feature_key
        for level in options.model_options.panoptic_deeplab.low_level
    ]
    assert keys == ["res3", "res2"]
    assert options.eval_dataset_options.padding_mode == 1


@pytest.mark.parametrize("second", ["a.b", "a.b.c"])
def test_a_field_is_chosen_once(second):
    with pytest.raises(ValueError, match="b"):
        config_text.write_config([Choice("a.b", 1), Choice(second, 2)])


@given(st.text(), st.floats(0, 1e6), st.text(min_size=1))
def test_all_texts_and_numbers_are_read_back(name, number, reason):
    options = parse(
        Choice("experiment_name", name, " ".join(reason.split())),
        Choice("trainer_options.solver_options.weight_decay", number),
    )
    assert options.experiment_name == name
    assert options.trainer_options.solver_options.weight_decay == (
        pytest.approx(number, rel=1e-5)
    )
