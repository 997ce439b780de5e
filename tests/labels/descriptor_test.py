# SPDX-License-Identifier: Apache-2.0
import dataclasses
import json
import os
import pathlib

import pytest

from deeplab2_like import config
from deeplab2_like.errors import ConfigError
from deeplab2_like.labels import descriptor
from deeplab2_like.protos import config_pb2

_ROOT = pathlib.Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(
    ("name", "classes", "ignore", "divisor", "things"),
    [
        ("cityscapes_panoptic", 19, 255, 1000, range(11, 19)),
        ("coco_panoptic", 134, 0, 256, range(1, 81)),
        ("kitti_panoptic", 19, 255, 1000, range(11, 19)),
        (
            "mapillary_vistas",
            65,
            255,
            1000,
            [
                0,
                1,
                8,
                *range(19, 24),
                *range(32, 43),
                *range(44, 58),
                *range(59, 63),
            ],
        ),
        ("kitti_step", 19, 255, 1000, (11, 13)),
        ("motchallenge_step", 7, 255, 1000, (4,)),
        ("nuclei", 2, 255, 1000, (0,)),
        ("camvid", 11, 255, 1000, (8, 9, 10)),
        ("coco128_things", 81, 255, 1000, range(80)),
        ("scenes", 9, 255, 1000, (5, 6, 7, 8)),
    ],
)
def test_a_shipped_data_set_has_the_published_classes(
    name, classes, ignore, divisor, things
):
    found = descriptor.load(name)
    assert found.name == name
    assert found.num_classes == classes == len(found.class_names)
    assert found.ignore_label == ignore
    assert found.label_divisor == divisor
    assert found.thing_ids == tuple(things)
    rest = set(range(classes)) - set(things) - {ignore}
    assert found.stuff_ids == tuple(sorted(rest))


@pytest.mark.parametrize("name", config.list_datasets())
def test_a_descriptor_is_made_of_plain_hashable_values(name):
    found = descriptor.load(name)
    hash(found)
    assert len(found.colors) == len(found.category_ids) == found.num_classes
    assert len(set(found.category_ids)) == found.num_classes
    for color in found.colors:
        assert all(type(part) is int and 0 <= part <= 255 for part in color)
    for class_id in range(found.num_classes):
        assert found.is_thing(class_id) == (class_id in found.thing_ids)
    assert dataclasses.asdict(found)["name"] == name


def test_void_has_the_id_of_the_ignored_class():
    assert descriptor.load("cityscapes_panoptic").void_id == 255000
    assert descriptor.load("coco_panoptic").void_id == 0


def test_categories_lead_back_to_classes():
    found = descriptor.load("cityscapes_panoptic")
    classes = found.class_of_category()
    assert classes[7] == 0
    assert found.class_names[classes[26]] == "car"
    assert found.class_names[classes[33]] == "bicycle"
    assert found.category_ids[classes[31]] == 31


_SAMPLES = {
    "coco_panoptic": "coco_panoptic_sample",
    "camvid": "camvid",
    "coco128_things": "coco128_things",
    "nuclei": "nuclei_dsb2018",
}


@pytest.mark.parametrize("name", sorted(_SAMPLES))
def test_classes_are_those_of_the_annotations(name):
    reference = os.environ.get("DEEPLAB2_LIKE_REFERENCE")
    shared = pathlib.Path(reference or _ROOT.parent / "shared/reference").parent
    path = shared / "realdata" / _SAMPLES[name] / "panoptic_val.json"
    if not path.is_file():
        pytest.skip(f"no real images: {path} is absent")
    found = descriptor.load(name)
    classes = found.class_of_category()
    categories = json.loads(path.read_text())["categories"]
    assert {c["id"] for c in categories} <= set(classes)
    for category in categories:
        index = classes[category["id"]]
        assert found.class_names[index] == category["name"]
        assert found.is_thing(index) == bool(category["isthing"])
        assert list(found.colors[index]) == category["color"]
    others = set(range(found.num_classes)) - {
        classes[c["id"]] for c in categories
    }
    assert others <= {found.ignore_label}


def test_a_users_own_descriptor_gets_ids_and_colors(tmp_path, monkeypatch):
    (tmp_path / "mine.textproto").write_text(
        'name: "mine" ignore_label: 255 label_divisor: 100\n'
        'classes { name: "a" is_thing: true } classes { name: "b" }\n'
        'classes { name: "c" color: [1, 2, 3] category_id: 9 }'
    )
    by_path = descriptor.load(str(tmp_path / "mine.textproto"))
    assert by_path.category_ids == (0, 1, 9)
    assert by_path.colors[2] == (1, 2, 3)
    assert len(set(by_path.colors)) == 3
    assert descriptor.load("mine.textproto", tmp_path) == by_path
    monkeypatch.chdir(tmp_path)
    assert descriptor.load("mine.textproto") == by_path


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(ConfigError, match="Known: cityscapes_panoptic, "):
        descriptor.load("cityscapes")


def test_generated_colors_differ_for_many_classes(tmp_path):
    file = tmp_path / "many.textproto"
    classes = "".join(f'classes {{ name: "{i}" }}\n' for i in range(100))
    file.write_text(
        f'name: "many" ignore_label: 255 label_divisor: 100\n{classes}'
    )
    assert len(set(descriptor.load(str(file)).colors)) == 100


def test_a_data_set_made_of_names_has_stuff_before_things():
    made = descriptor.make(["sky", "road"], ["car", "dog"], label_divisor=50)
    assert made == descriptor.DatasetDescriptor(
        name="custom",
        num_classes=4,
        thing_ids=(2, 3),
        stuff_ids=(0, 1),
        ignore_label=255,
        label_divisor=50,
        class_names=("sky", "road", "car", "dog"),
        colors=made.colors,
        category_ids=(0, 1, 2, 3),
    )
    assert made.void_id == 255 * 50
    # Classes have the colors of a file without colors.
    assert made.colors[0] == (217, 76, 76)
    assert len(set(made.colors)) == 4


def test_a_data_set_may_have_only_stuff_or_only_things():
    assert descriptor.make(["sky"], []).thing_ids == ()
    assert descriptor.make([], ["car"]).stuff_ids == ()


def test_void_may_be_a_class_of_a_data_set_made_of_names():
    made = descriptor.make(["void", "road"], ["car"], ignore_label=0)
    assert (made.num_classes, made.void_id) == (3, 0)
    assert made.stuff_ids == (1,)


@pytest.mark.parametrize(
    ("stuff", "things", "options", "message"),
    [
        (["sky", ""], ["car"], {}, r"classes\[1\]\.name is not set"),
        (["car"], ["car"], {}, "class 0 has this name too"),
        ([], [], {}, "classes is not set: there must be at least one"),
        (["sky"], [], {"label_divisor": 0}, "label_divisor is 0"),
        (["sky"], [], {"ignore_label": -1}, "ignore_label is -1"),
        (["sky"], ["car"], {"ignore_label": 1}, 'it is the thing "car"'),
    ],
)
def test_a_data_set_made_of_names_is_checked(stuff, things, options, message):
    with pytest.raises(config.InvalidConfigError, match=message):
        descriptor.make(stuff, things, **options)


@pytest.mark.parametrize(
    ("training", "evaluation", "name"),
    [
        ("scenes", "nuclei", "scenes"),
        ("scenes", "", "scenes"),
        ("", "nuclei", "nuclei"),
    ],
)
def test_a_run_has_the_data_set_of_training_or_else_of_evaluation(
    training, evaluation, name
):
    options = config_pb2.ExperimentOptions()
    options.train_dataset_options.dataset = training
    options.eval_dataset_options.dataset = evaluation
    assert descriptor.name_of_run(options) == name
    assert descriptor.load_of_run(options) == descriptor.load(name)


def test_a_run_of_an_unknown_data_set_is_refused():
    options = config_pb2.ExperimentOptions()
    options.eval_dataset_options.dataset = "street"
    with pytest.raises(ConfigError, match="Known: "):
        descriptor.load_of_run(options)
