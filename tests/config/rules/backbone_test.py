# SPDX-License-Identifier: Apache-2.0
import pytest
from google.protobuf import text_format

from deeplab2_like.config import names
from deeplab2_like.config.rules import backbone as backbone_rules
from deeplab2_like.protos import model_pb2

_Backbone = model_pb2.ModelOptions.BackboneOptions
_RESNETS = [
    "resnet50",
    "resnet101_beta",
    "wide_resnet41",
    "swidernet",
    "axial_swidernet",
    "axial_resnet_s",
    "axial_deeplab_l",
    "max_deeplab_s_backbone",
    "max_deeplab_l_backbone",
]


def _find(text):
    options = text_format.Parse(text, _Backbone())
    return list(backbone_rules.find_conflicts(options))


def _fields(text):
    return [found.field for found in _find(text)]


@pytest.mark.parametrize("name", _RESNETS)
def test_the_resnet_family_can_be_varied(name):
    assert not _fields(
        f'name: "{name}" use_squeeze_and_excite: true '
        'drop_path_keep_prob: 0.8 drop_path_schedule: "linear" '
        "stem_width_multiplier: 2 backbone_width_multiplier: 0.5 "
        "backbone_layer_multiplier: 3 recompute: true"
    )


@pytest.mark.parametrize(
    "field",
    [
        "drop_path_keep_prob: 0.5",
        'drop_path_schedule: "linear"',
        "stem_width_multiplier: 2",
        "backbone_width_multiplier: 2",
        "backbone_layer_multiplier: 2",
        "use_sac_beyond_stride: 32",
        "recompute: true",
    ],
)
@pytest.mark.parametrize("name", names.MOBILENETS)
def test_mobilenets_cannot(name, field):
    (found,) = _find(f'name: "{name}" use_squeeze_and_excite: true {field}')
    assert found.field == field.split(":")[0]
    assert found.rule == f"{name} does not have it"


@pytest.mark.parametrize("name", names.MOBILENETS)
def test_mobilenets_have_their_gates(name):
    assert _fields(f'name: "{name}"') == ["use_squeeze_and_excite"]


@pytest.mark.parametrize("name", names.EFFICIENTNET_LITES)
def test_lite_nets_have_no_gates(name):
    assert not _fields(f'name: "{name}" activation: "relu6" padding: "same"')
    text = f'name: "{name}" use_squeeze_and_excite: true'
    assert _fields(text) == ["use_squeeze_and_excite"]


@pytest.mark.parametrize("name", ["resnet50", "mobilenet_v3_small"])
def test_only_efficientnets_choose_their_padding(name):
    gates = "use_squeeze_and_excite: true" if "mobilenet" in name else ""
    assert _fields(f'name: "{name}" padding: "same" {gates}') == ["padding"]
    assert not _fields('name: "efficientnet_b0" padding: "same"')


@pytest.mark.parametrize("name", names.BACKBONES)
def test_graphs_fit_their_backbones(name):
    """The mask transformers are refused by their names alone."""
    gates = "use_squeeze_and_excite: true" if "mobilenet" in name else ""
    for graph in names.GRAPHS:
        is_known = graph in ("deeplab2", *names.OTHER_GRAPHS.get(name, ()))
        found = _find(f'name: "{name}" graph: "{graph}" {gates}')
        fields = [finding.field for finding in found]
        if name not in ("max_deeplab_s", "max_deeplab_l"):
            assert fields == ([] if is_known else ["graph"])
    assert not _fields('name: "resnet50" graph: "no such graph"')


@pytest.mark.parametrize("name", ["max_deeplab_s", "max_deeplab_l"])
def test_mask_transformers_are_refused_by_name(name):
    (found,) = _find(f'name: "{name}" use_sac_beyond_stride: 32')
    assert found.field == "name"
    assert f'"{name}_backbone"' in found.fix


def test_there_is_nothing_to_switch_in_axial_attention():
    assert not _fields('name: "swidernet" use_sac_beyond_stride: 32')
    assert not _fields('name: "axial_swidernet" use_sac_beyond_stride: 16')
    for name, stride in (
        ("axial_swidernet", 32),
        ("max_deeplab_s_backbone", 32),
        ("axial_resnet_l", 4),
    ):
        text = f'name: "{name}" use_sac_beyond_stride: {stride}'
        assert _fields(text) == ["use_sac_beyond_stride"]


@pytest.mark.parametrize(
    ("name", "width", "is_even"),
    [
        ("axial_swidernet", 0.25, True),
        ("axial_swidernet", 1 / 64, True),
        ("axial_swidernet", 1 / 128, False),
        ("axial_swidernet", 0.3, False),
        ("max_deeplab_s_backbone", 1 / 32, True),
        ("max_deeplab_s_backbone", 1 / 64, False),
        ("axial_resnet_s", 1 / 8, True),
        ("axial_resnet_s", 1 / 16, False),
        ("swidernet", 0.3, True),
    ],
)
def test_heads_share_the_channels(name, width, is_even):
    found = _fields(f'name: "{name}" backbone_width_multiplier: {width}')
    assert found == ([] if is_even else ["backbone_width_multiplier"])


def test_every_name_of_the_schema_is_known_here_or_refused():
    for name in names.BACKBONES:
        gates = "use_squeeze_and_excite: true" if "mobilenet" in name else ""
        found = _fields(f'name: "{name}" {gates}')
        assert found in ([], ["name"])


@pytest.mark.parametrize("width", ["nan", "inf", "0", "-1"])
def test_illegal_widths_are_left_to_the_rules_of_fields(width):
    assert not _fields(
        f'name: "axial_swidernet" backbone_width_multiplier: {width}'
    )
