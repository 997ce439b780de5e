# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import config
from deeplab2_like.errors import ConfigError


def parse(text, *overrides, **kwargs):
    kwargs.setdefault("environ", {})
    return config.parse(text, overrides, **kwargs)


def test_a_file_is_read_by_path(tmp_path, valid_text):
    path = tmp_path / "mine.textproto"
    path.write_text(valid_text)
    loaded = config.load(path)
    assert loaded.path == str(path)
    assert loaded.options.experiment_name == "test"


@pytest.mark.parametrize(
    "name",
    [
        "scenes/panoptic_deeplab_mobilenet_v3_small_os16",
        "scenes/panoptic_deeplab_mobilenet_v3_small_os16.textproto",
        "configs/scenes/panoptic_deeplab_mobilenet_v3_small_os16.textproto",
    ],
)
def test_a_shipped_config_is_found_by_name_from_anywhere(
    name, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    assert config.load(name).options.train_dataset_options.dataset == "scenes"


def test_a_local_file_wins_over_a_shipped_name(
    tmp_path, monkeypatch, valid_text
):
    name = "scenes/panoptic_deeplab_mobilenet_v3_small_os16"
    (tmp_path / "scenes").mkdir()
    (tmp_path / name).write_text(valid_text)
    monkeypatch.chdir(tmp_path)
    assert config.load(name).options.experiment_name == "test"


def test_an_unknown_name_lists_the_known_ones_nearest_first():
    with pytest.raises(ConfigError) as caught:
        config.load("scenes/panoptic_deeplab_mobilenet_v3_smal_os16")
    text = str(caught.value)
    assert "does not exist" in text
    assert "one of: scenes/panoptic_deeplab_mobilenet_v3_small_os16," in text
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "empty"),
        (b"# only a comment\n", "empty"),
        (b"\xff\xfe\x00e\x00x", "not UTF-8"),
        (b"experiment_name: 'a'\n\x00", "binary"),
        (b"\x08\x96\x01\x12", "not UTF-8"),
        (b"experiment_name: 'a' #" + b"x" * (1 << 20), "larger than"),
    ],
)
def test_a_file_that_is_no_config_is_one_sentence(tmp_path, content, complaint):
    path = tmp_path / "a.textproto"
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=complaint):
        config.load(path)


def test_a_folder_is_no_config(tmp_path):
    with pytest.raises(ConfigError, match="is a folder"):
        config.load(tmp_path)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000, "../../etc/passwd"])
def test_odd_names_are_config_errors(name):
    with pytest.raises(ConfigError):
        config.load(name)


def test_a_byte_order_mark_and_windows_line_ends_are_read(tmp_path, valid_text):
    path = tmp_path / "a.textproto"
    path.write_bytes(
        b"\xef\xbb\xbf" + valid_text.replace("\n", "\r\n").encode()
    )
    assert config.load(path).options.experiment_name == "test"


# Completion.


def test_channels_follow_from_the_data_set(valid_text):
    model = parse(valid_text).options.model_options
    panoptic = model.panoptic_deeplab
    assert panoptic.semantic_head.output_channels == 19
    assert panoptic.instance.center_head.output_channels == 1
    assert panoptic.instance.regression_head.output_channels == 2


@pytest.mark.parametrize("system", ["deeplab_v3", "deeplab_v3_plus"])
def test_the_class_count_follows_from_the_data_set(valid_text, system):
    low_level = 'low_level { feature_key: "res2" channels_project: 48 }'
    fragment = low_level if system == "deeplab_v3_plus" else ""
    options = parse(
        valid_text, f"model_options {{ {system} {{ {fragment} }} }}"
    ).options
    kind = options.model_options.WhichOneof("meta_architecture")
    assert kind == system
    assert getattr(options.model_options, kind).num_classes == 19


def test_one_crop_value_stands_for_both_sides(valid_text):
    options = parse(
        valid_text, "train_dataset_options { crop_size: 97 }"
    ).options
    assert list(options.train_dataset_options.crop_size) == [97, 97]


def test_the_resolved_text_is_a_fixed_point(valid_text):
    first = parse(valid_text)
    again = parse(first.text)
    assert again.text == first.text
    assert again.sha256 == first.sha256
    assert again.options == first.options


def test_the_hash_depends_on_the_options_and_not_on_the_layout(valid_text):
    first = parse(valid_text)
    same = parse("# comment\n" + valid_text.replace("\n", "  \n"))
    other = parse(valid_text, "trainer_options { seed: 1 }")
    assert same.sha256 == first.sha256
    assert other.sha256 != first.sha256


# Overrides.


def test_an_override_replaces_a_value_and_keeps_the_rest(valid_text):
    options = parse(
        valid_text,
        "trainer_options { seed: 7 }",
        "evaluator_options { nms_kernel: 13 }",
    ).options
    assert options.trainer_options.seed == 7
    assert options.evaluator_options.nms_kernel == 13
    assert options.trainer_options.loss_options.center_loss.weight == 200


def test_a_repeated_field_is_replaced_not_extended(valid_text):
    options = parse(
        valid_text,
        "model_options { decoder { atrous_rates: [1, 2, 3] } }",
        "eval_dataset_options { crop_size: 33 crop_size: 49 }",
    ).options
    assert list(options.model_options.decoder.atrous_rates) == [1, 2, 3]
    assert list(options.eval_dataset_options.crop_size) == [33, 49]


def test_repeated_messages_are_replaced(valid_text):
    options = parse(
        valid_text,
        "model_options { panoptic_deeplab { "
        'low_level { feature_key: "res2" channels_project: 8 } } }',
    ).options
    low_level = options.model_options.panoptic_deeplab.low_level
    assert [(f.feature_key, f.channels_project) for f in low_level] == [
        ("res2", 8)
    ]


def test_an_empty_list_empties_a_repeated_field(valid_text):
    options = parse(
        valid_text,
        'train_dataset_options { file_pattern: ["a", "b"] }',
        "train_dataset_options { file_pattern: [] }",
    ).options
    assert not options.train_dataset_options.file_pattern


def test_a_later_override_wins(valid_text):
    options = parse(
        valid_text,
        "trainer_options { seed: 1 }",
        "trainer_options { seed: 2 }",
    ).options
    assert options.trainer_options.seed == 2


def test_an_override_can_replace_the_system(valid_text):
    options = parse(valid_text, "model_options { deeplab_v3 { } }").options
    assert options.model_options.HasField("deeplab_v3")
    assert not options.model_options.HasField("panoptic_deeplab")


def test_an_override_can_set_a_value_to_its_default(valid_text):
    options = parse(valid_text, "evaluator_options { nms_kernel: 3 }").options
    assert options.evaluator_options.nms_kernel == 3


def test_problems_of_overrides_name_the_override(find_problems):
    found = find_problems(
        "trainer_options { seed: 1 }", "evaluator_options {\n nms_kernel: 0 }"
    )
    assert [str(p).split(": ")[0] for p in found] == ["--config_override[1]:2"]
    found = find_problems("seed: 1", "trainer_options { sead: 1 }")
    assert [p.source for p in found] == [
        "--config_override[0]",
        "--config_override[1]",
    ]


def test_a_problem_of_the_file_keeps_its_line_when_other_fields_are_overridden(
    find_problems, valid_text
):
    found = find_problems(
        "evaluator_options { eval_steps: -1 }",
        text=valid_text.replace("nms_kernel: 7", "nms_kernel: -7"),
    )
    assert [(p.source, p.line) for p in found] == [("t.textproto", 32)]


# Place-holders.

_WITH_PLACEHOLDER = "train_dataset_options { file_pattern: '${DIR}/a-${N}*' }"


def test_placeholders_are_filled_from_the_environment(valid_text, monkeypatch):
    monkeypatch.setenv("DIR", '/data "x"\\')
    monkeypatch.setenv("N", "00")
    loaded = config.parse(valid_text, [_WITH_PLACEHOLDER])
    pattern = loaded.options.train_dataset_options.file_pattern[0]
    assert pattern == '/data "x"\\/a-00*'
    assert not loaded.unfilled


def test_an_unfilled_placeholder_stays_and_is_noted(valid_text):
    loaded = parse(valid_text, _WITH_PLACEHOLDER, environ={"DIR": "/d"})
    path = "train_dataset_options.file_pattern[0]"
    assert loaded.options.train_dataset_options.file_pattern == ["/d/a-${N}*"]
    assert loaded.unfilled == {path: ("N",)}
    (note,) = loaded.warnings
    assert note.severity == "note"
    assert note.path == path


def test_an_unfilled_placeholder_is_an_error_where_it_is_needed(valid_text):
    loaded = parse(valid_text, _WITH_PLACEHOLDER, environ={"DIR": "/d"})
    loaded.require_filled("eval_dataset_options", "model_options")
    for prefixes in [("train_dataset_options.file_pattern",), ()]:
        with pytest.raises(ConfigError) as caught:
            loaded.require_filled(*prefixes)
        text = str(caught.value)
        assert "the environment variable is not set: N" in text
        assert (
            "--config_override='train_dataset_options { file_pattern:" in text
        )


def test_required_placeholders_are_errors_at_once(valid_text):
    with pytest.raises(ConfigError, match="are not set: DIR, N"):
        parse(valid_text, _WITH_PLACEHOLDER, require_placeholders=True)


def test_an_override_replaces_a_placeholder(valid_text):
    loaded = parse(
        valid_text,
        _WITH_PLACEHOLDER,
        "train_dataset_options { file_pattern: '/x' }",
    )
    assert not loaded.unfilled
    assert loaded.options.train_dataset_options.file_pattern == ["/x"]


def test_a_placeholder_that_decides_what_is_built_must_be_filled(
    valid_text, find_problems, monkeypatch
):
    override = 'model_options { backbone { name: "${BACKBONE_NAME}" } }'
    (found,) = find_problems(override)
    assert found.path == "model_options.backbone.name"
    assert "is not set: BACKBONE_NAME" in found.rule
    monkeypatch.setenv("BACKBONE_NAME", "resnet101")
    loaded = config.parse(valid_text, [override])
    assert loaded.options.model_options.backbone.name == "resnet101"


# Data sets.

_DESCRIPTOR = """
name: "mine"
ignore_label: 255
label_divisor: 1000
classes { name: "cell" is_thing: true }
classes { name: "rest" }
"""


@pytest.mark.parametrize("absolute", [False, True])
def test_a_users_own_descriptor_is_found_beside_the_config(
    tmp_path, valid_text, absolute
):
    (tmp_path / "mine.textproto").write_text(_DESCRIPTOR)
    name = str(tmp_path / "mine.textproto") if absolute else "mine.textproto"
    path = tmp_path / "config.textproto"
    path.write_text(valid_text.replace("cityscapes_panoptic", name))
    options = config.load(path).options
    head = options.model_options.panoptic_deeplab.semantic_head
    assert head.output_channels == 2
    found = options.train_dataset_options.dataset
    assert found == str(tmp_path / "mine.textproto")
    assert config.load_dataset(found).name == "mine"


def test_an_unknown_data_set_lists_the_known_ones(find_problems):
    found = find_problems('eval_dataset_options { dataset: "cityscape" }')
    assert [p.path for p in found] == ["eval_dataset_options.dataset"]
    assert "Known: cityscapes_panoptic, " in found[0].fix


def test_a_missing_descriptor_file_is_reported(find_problems):
    found = find_problems('eval_dataset_options { dataset: "no.textproto" }')
    assert [p.path for p in found] == ["eval_dataset_options.dataset"]


def test_problems_of_a_descriptor_name_its_file(tmp_path, valid_text):
    file = tmp_path / "mine.textproto"
    file.write_text(_DESCRIPTOR.replace("1000", "1"))
    with pytest.raises(ConfigError, match=r"mine.textproto:4: label_divisor"):
        config.parse(valid_text.replace("cityscapes_panoptic", str(file)))


def test_a_data_set_has_an_alias():
    assert config.load_dataset("nuclei_dsb2018").name == "nuclei"


def test_options_built_in_code_are_validated(valid_text):
    options = parse(valid_text).options
    assert config.validate(options) == []
    options.evaluator_options.nms_kernel = 0
    before = options.SerializeToString(deterministic=True)
    (found,) = config.validate(options)
    assert found.path == "evaluator_options.nms_kernel"
    assert options.SerializeToString(deterministic=True) == before
