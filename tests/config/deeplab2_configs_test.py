# SPDX-License-Identifier: Apache-2.0
"""The 23 configs that deeplab2 ships for systems that exist here too."""

import json
import os
import pathlib
import re

import pytest

from deeplab2_like import config
from deeplab2_like.config import report, textproto
from deeplab2_like.protos import config_pb2

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _folder():
    named = os.environ.get("DEEPLAB2_LIKE_REFERENCE")
    return pathlib.Path(named) if named else _ROOT.parent / "shared/reference"


def _read(name):
    for folder in (_folder(), _ROOT.parent / "shared/reference"):
        if (folder / name).is_file():
            return json.loads((folder / name).read_text())
    return None


_FACTS = _read("deeplab2_configs.json")
_NAMES = sorted(_FACTS["configs"]) if _FACTS else []


def _as_text(value):
    if isinstance(value, bool):
        return "true" if value else "false"
    return json.dumps(value)


def _write(values):
    """Writes {"a.b[0].c": value} as text format, each value on its own.

    Values of one repeated message have to stand in one block.
    """
    tree = {}
    for path, value in values.items():
        node = tree
        *parents, last = path.split(".")
        for parent in parents:
            node = node.setdefault(parent, {})
        node[last] = value

    def dump(node):
        lines = []
        for key, value in node.items():
            name = re.sub(r"\[\d+\]$", "", key)
            if isinstance(value, dict):
                lines.append(f"{name} {{\n{dump(value)}\n}}")
            elif isinstance(value, list):
                lines += [f"{name}: {_as_text(item)}" for item in value]
            else:
                lines.append(f"{name}: {_as_text(value)}")
        return "\n".join(lines)

    return dump(tree)


def _values_of(name):
    return {**_FACTS["common"], **_FACTS["configs"][name]}


def _flatten(values):
    """Returns each item of a list a path of its own."""
    flat = {}
    for path, value in values.items():
        if isinstance(value, list):
            flat |= {f"{path}[{i}]": item for i, item in enumerate(value)}
        else:
            flat[path] = value
    return flat


def _set_fields(text):
    """Lists what a text sets, by path; nothing is completed."""
    options = config_pb2.ExperimentOptions()
    textproto.parse(text, options, "text")
    return {
        path: value
        for path, _, field, value in report.iterate_fields(options)
        if field.message_type is None
    }


def _get(message, path):
    for part in path.split("."):
        name, _, index = part.partition("[")
        message = getattr(message, name)
        if index:
            message = message[int(index[:-1])]
    return message


def test_the_facts_are_here():
    if _FACTS is None:
        pytest.skip("no golden data: deeplab2_configs.json is absent")
    assert len(_NAMES) == 23


@pytest.mark.parametrize("name", _NAMES)
def test_a_config_of_deeplab2_parses_and_is_valid(name):
    values = _values_of(name)
    loaded = config.parse(_write(values), source=name, environ={})
    for path, value in values.items():
        actual = _get(loaded.options, path)
        if isinstance(value, list):
            actual = list(actual)
            if path.endswith("crop_size"):
                assert actual == value
                continue
        if isinstance(value, float):
            actual = pytest.approx(actual, rel=1e-6)
        assert actual == value, path
    warned = {w.path for w in loaded.warnings if w.severity == "warning"}
    # The ids of coco_panoptic end at 255, its configs keep 400 centers.
    coco = {"evaluator_options.keep_k_centers"} if "coco" in name else set()
    assert warned == coco


@pytest.mark.parametrize("name", _NAMES)
def test_the_shipped_file_of_the_same_name_sets_the_same_fields(name):
    text = config.paths.find_config(name).read_text()
    ours, theirs = _set_fields(text), _flatten(_values_of(name))
    assert set(ours) == set(theirs)
    for path, value in theirs.items():
        if isinstance(value, float):
            value = pytest.approx(value, rel=1e-6)
        assert ours[path] == value, path


@pytest.mark.parametrize("name", _NAMES)
def test_the_shipped_file_of_the_same_name_means_the_same(name):
    ours = config.load(name, environ={})
    theirs = config.parse(_write(_values_of(name)), environ={})
    assert ours.text == theirs.text


# Millions of parameters of the networks that deeplab2 itself builds.
_MILLIONS = {
    "cityscapes/axial_deeplab/axial_swidernet_1_1_1_os16": 138.044,
    "cityscapes/axial_deeplab/axial_swidernet_1_1_3_os16": 395.981,
    "cityscapes/axial_deeplab/axial_swidernet_1_1_4.5_os16": 572.662,
    "cityscapes/axial_deeplab/max_deeplab_l_backbone_os16": 176.813,
    "cityscapes/axial_deeplab/max_deeplab_s_backbone_os16": 42.939,
    "cityscapes/panoptic_deeplab/mobilenet_v3_large_os16": 18.273,
    "cityscapes/panoptic_deeplab/mobilenet_v3_large_os32": 18.273,
    "cityscapes/panoptic_deeplab/mobilenet_v3_small_os16": 10.508,
    "cityscapes/panoptic_deeplab/mobilenet_v3_small_os32": 10.508,
    "cityscapes/panoptic_deeplab/resnet50_beta_os32": 55.163,
    "cityscapes/panoptic_deeplab/resnet50_os32_merge_with_pure_tf_func": 55.039,
    "cityscapes/panoptic_deeplab/resnet50_os32_semseg": 39.395,
    "cityscapes/panoptic_deeplab/swidernet_sac_1_1_1_os16": 144.489,
    "cityscapes/panoptic_deeplab/swidernet_sac_1_1_3_os16": 376.695,
    "cityscapes/panoptic_deeplab/swidernet_sac_1_1_4.5_os16": 536.222,
    "cityscapes/panoptic_deeplab/wide_resnet41_os16": 140.550,
    "coco/panoptic_deeplab/resnet50_beta_os16": 55.192,
    "coco/panoptic_deeplab/resnet50_beta_os32": 55.192,
    "coco/panoptic_deeplab/resnet50_os16": 55.068,
    "coco/panoptic_deeplab/resnet50_os32": 55.068,
    # As with Cityscapes; 257 parameters of the last layer for each class.
    "kitti/panoptic_deeplab/resnet50_os32": 55.039,
    "kitti/panoptic_deeplab/resnet50_os32_trainval": 55.039,
    "motchallenge/panoptic_deeplab/resnet50_os32": 55.039 - 12 * 257e-6,
}
# One of each kind; building takes seconds.
_QUICK = (
    "cityscapes/panoptic_deeplab/mobilenet_v3_small_os32",
    "cityscapes/panoptic_deeplab/resnet50_os32_semseg",
    "coco/panoptic_deeplab/resnet50_beta_os16",
)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in _QUICK else [pytest.mark.slow])
        for name in _NAMES
    ],
)
def test_a_config_of_deeplab2_builds_the_network_of_its_size(name):
    pytest.importorskip("keras")
    from deeplab2_like.labels import descriptor
    from deeplab2_like.meta_architectures import build
    from deeplab2_like.model import complexity

    options = config.parse(_write(_values_of(name)), environ={}).options
    dataset = descriptor.load(options.train_dataset_options.dataset)
    system = build.build_system(options, dataset)
    found = complexity.compute_complexity(
        lambda: system.build_model(synchronize_batch_norm=False), (65, 97)
    )
    millions = found.num_parameters / 1e6
    assert millions == pytest.approx(_MILLIONS[name], abs=0.0006)


@pytest.mark.parametrize("name", _NAMES)
def test_the_shipped_files_say_what_was_published(name):
    text = config.paths.find_config(name).read_text()
    said = re.findall(r"^# Published[^\n]*", text, re.MULTILINE)
    assert len(said) == 1
    if "PQ" in said[0]:
        assert "(deeplab2, not re-measured here)" in said[0]


# Systems that do not exist here.

_PANOPTIC = "model_options.panoptic_deeplab."


def _as_system(system):
    """Returns the values of a config as one of another system has them."""
    values = _values_of("kitti/panoptic_deeplab/resnet50_os32")
    other = f"model_options.{system}."
    return {
        path.replace(_PANOPTIC, other): value for path, value in values.items()
    }


def _motion_deeplab():
    values = _as_system("motion_deeplab")
    head = "model_options.motion_deeplab.motion_head"
    loss = "trainer_options.loss_options.motion_loss"
    return values | {
        f"{head}.output_channels": 2,
        f"{head}.head_channels": 32,
        f"{loss}.name": "l1",
        f"{loss}.weight": 0.01,
        "train_dataset_options.use_two_frames": True,
        "eval_dataset_options.use_two_frames": True,
    }


def _vip_deeplab():
    values = _as_system("vip_deeplab")
    instance = "model_options.vip_deeplab.instance.next_regression_head"
    depth = "model_options.vip_deeplab.depth_head"
    return values | {
        f"{instance}.output_channels": 2,
        f"{instance}.head_channels": 32,
        f"{depth}.output_channels": 1,
        f"{depth}.head_channels": 32,
        f"{depth}.max_value_after_activation": 88.0,
        "trainer_options.loss_options.depth_loss.name": "depth_loss",
        "train_dataset_options.dataset": "cityscapes_dvps",
        "eval_dataset_options.dataset": "cityscapes_dvps",
        "train_dataset_options.use_next_frame": True,
    }


def _max_deeplab():
    values = {
        path: value
        for path, value in _as_system("max_deeplab").items()
        if not path.startswith("model_options.max_deeplab.")
    }
    head = "model_options.max_deeplab.pixel_space_head"
    loss = "trainer_options.loss_options.pq_style_loss"
    return values | {
        "model_options.backbone.name": "max_deeplab_s",
        f"{head}.output_channels": 128,
        f"{head}.head_channels": 256,
        f"{loss}.weight": 3.0,
        "train_dataset_options.thing_id_mask_annotations": True,
    }


@pytest.mark.skipif(_FACTS is None, reason="no golden data")
@pytest.mark.parametrize("make", [_motion_deeplab, _vip_deeplab, _max_deeplab])
def test_a_config_of_another_system_is_refused_in_one_sentence(make):
    system = make.__name__.lstrip("_")
    with pytest.raises(config.InvalidConfigError) as caught:
        config.parse(_write(make()), source="other.textproto", environ={})
    (problem,) = caught.value.problems
    assert problem.path == f"model_options.{system}"
    assert "which this package does not have" in problem.rule
    assert problem.line


@pytest.mark.skipif(_FACTS is None, reason="no golden data")
def test_a_depth_head_is_refused_in_one_sentence():
    values = _values_of("cityscapes/panoptic_deeplab/resnet50_beta_os32")
    values |= {
        f"{_PANOPTIC}depth_head.output_channels": 1,
        f"{_PANOPTIC}depth_head.head_channels": 32,
        f"{_PANOPTIC}depth_head.min_value_after_activation": 1.0,
    }
    with pytest.raises(config.InvalidConfigError) as caught:
        config.parse(_write(values), source="depth.textproto", environ={})
    (problem,) = caught.value.problems
    assert problem.path == "model_options.panoptic_deeplab.depth_head"
    assert "ViP-DeepLab, which this package does not have" in problem.rule


# Data sets.


def test_the_step_data_sets_are_those_of_deeplab2():
    mot = config.load_dataset("motchallenge_step")
    names = ["sidewalk", "building", "vegetation", "sky", "person", "rider"]
    assert [c.name for c in mot.classes] == [*names, "bicycle"]
    assert [c.name for c in mot.classes if c.is_thing] == ["person"]
    kitti = config.load_dataset("kitti_step")
    city = config.load_dataset("cityscapes_panoptic")
    assert [c.name for c in kitti.classes] == [c.name for c in city.classes]
    assert [i for i, c in enumerate(kitti.classes) if c.is_thing] == [11, 13]
    assert [i for i, c in enumerate(city.classes) if c.is_thing] == [
        *range(11, 19)
    ]
    for dataset in (mot, kitti, city):
        assert dataset.ignore_label == 255
        assert dataset.label_divisor == 1000


def test_coco_is_that_of_deeplab2():
    coco = config.load_dataset("coco_panoptic")
    assert len(coco.classes) == 134
    things = [i for i, c in enumerate(coco.classes) if c.is_thing]
    assert things == [*range(1, 81)]
    assert (coco.ignore_label, coco.label_divisor) == (0, 256)


# Recipes of runs whose results are known.


def test_the_recipes_of_the_reference_runs_are_valid():
    runs = {
        name: _read(f"training_runs/{name}.json")
        for name in ("nuclei", "camvid")
    }
    if not all(runs.values()):
        pytest.skip("no golden data: training_runs is absent")
    # A canvas of 361 pixels is not 16 k + 1; deeplab2 does not ask.
    crops = {"nuclei": "[1025, 1281]", "camvid": "[369, 481]"}
    for name, run in runs.items():
        crop = f"eval_dataset_options {{ crop_size: {crops[name]} }}"
        loaded = config.parse(run["config_textproto"], [crop], environ={})
        assert not loaded.warnings
    ours = config.load(
        "nuclei/panoptic_deeplab_mobilenet_v3_small_os16_reference",
        [
            "train_dataset_options { file_pattern: [] }",
            "eval_dataset_options { file_pattern: [] "
            "crop_size: [1025, 1281] pad_to_multiple_of: 0 }",
            "trainer_options { save_checkpoints_steps: 1000 "
            "save_summaries_steps: 1000 steps_per_loop: 1000 }",
        ],
        environ={},
    )
    theirs = config.parse(
        runs["nuclei"]["config_textproto"],
        [
            'train_dataset_options { dataset: "nuclei" }',
            'eval_dataset_options { dataset: "nuclei" pad_to_multiple_of: 0 }',
            "trainer_options { save_checkpoints_steps: 1000 "
            "save_summaries_steps: 1000 steps_per_loop: 1000 }",
        ],
        environ={},
    )
    assert ours.text == theirs.text
