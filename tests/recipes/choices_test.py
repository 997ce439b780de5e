# SPDX-License-Identifier: Apache-2.0
"""Whatever the data are like, the config loads, without a warning."""

import dataclasses
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deeplab2_like import config, errors
from deeplab2_like.config import problems, textproto
from deeplab2_like.recipes import choices, config_text, plan
from deeplab2_like.recipes.choice import SYSTEMS, Wishes
from deeplab2_like.recipes.machine import Machine
from deeplab2_like.recipes.survey import ClassSurvey, DataSurvey, Spread

PHOTOS = DataSurvey(
    name="photos",
    num_images=(32, 8),
    heights=Spread(*[360] * 7),
    widths=Spread(*[480] * 7),
    num_sizes=1,
    classes=(
        ClassSurvey("sky", False, (4_000_000, 1_000_000), (32, 8)),
        ClassSurvey("road", False, (1_000_000, 300_000), (32, 8)),
        ClassSurvey("car", True, (400_000, 100_000), (30, 8), (90, 20)),
    ),
    instance_sizes=Spread(8, 15, 30, 50, 80, 100, 200),
    instances_per_image=Spread(0, 1, 2, 3, 4, 6, 12),
    center_distances=Spread(5, 20, 30, 60, 80, 90, 300),
    stuff_areas=Spread(100, 2000, 5000, 9000, 20000, 50000, 90000),
)
PLENTY = Machine(2, 16 * 2**30, ("efficientnet_lite0",))


def choose(survey=PHOTOS, machine=PLENTY, wishes=Wishes()):  # noqa: B008
    sizes = plan.make_plan(survey, machine, wishes)
    files = choices.Files("dataset.textproto", "a/train-*", "a/val-*")
    return choices.choose(survey, machine, sizes, wishes, files)


def load(folder, survey, fields):
    classes = "".join(
        f"classes {{ name: {textproto.quote(c.name)} "
        f"is_thing: {str(c.is_thing).lower()} }}\n"
        for c in survey.classes
    )
    (folder / "dataset.textproto").write_text(
        f'name: "x" ignore_label: 255 label_divisor: 10000\n{classes}'
    )
    path = folder / "config.textproto"
    path.write_text(config_text.write_config(fields))
    return config.load(path)


@st.composite
def spreads(draw, low, high):
    values = draw(st.lists(st.floats(low, high), min_size=7, max_size=7))
    return Spread(*sorted(values))


@st.composite
def surveys(draw):
    def draw_pair(high):
        return draw(st.tuples(st.integers(0, high), st.integers(0, high)))

    has_one_size = draw(st.booleans())
    sides = [draw(spreads(16, 6000)) for _ in range(2)]
    if has_one_size:
        sides = [Spread(*[float(round(s.median))] * 7) for s in sides]
    things = draw(st.lists(st.booleans(), min_size=2, max_size=8))
    has_objects = any(things) and draw(st.booleans())
    return DataSurvey(
        name=draw(st.text(min_size=1, max_size=9)),
        num_images=draw(st.tuples(st.integers(1, 5000), st.integers(1, 500))),
        heights=sides[0],
        widths=sides[1],
        num_sizes=1 if has_one_size else 7,
        classes=tuple(
            ClassSurvey(f"c{i}", thing, draw_pair(10**9), draw_pair(50))
            for i, thing in enumerate(things)
        ),
        instance_sizes=draw(spreads(1, 3000)) if has_objects else None,
        instances_per_image=draw(spreads(0, 3000 if has_objects else 0)),
        center_distances=draw(spreads(0, 900)) if has_objects else None,
        stuff_areas=None if all(things) else draw(spreads(1, 10**7)),
    )


MACHINES = st.builds(
    Machine,
    st.integers(1, 256),
    st.integers(2**28, 2**40),
    st.sampled_from([(), ("efficientnet_lite0",)]),
    st.just("Get them."),
)


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(surveys(), MACHINES, st.sampled_from(SYSTEMS), st.floats(0.1, 9e4))
def test_every_config_loads_without_a_warning(
    tmp_path, survey, machine, system, minutes
):
    wishes = Wishes(system, minutes)
    if system.startswith("efficientps") and not survey.has_things:
        with pytest.raises(errors.ConfigError, match="no class of things"):
            choose(survey, machine, wishes)
        return
    loaded = load(tmp_path, survey, choose(survey, machine, wishes))
    found = [p for p in loaded.warnings if p.severity == problems.WARNING]
    assert not found
    train = loaded.options.train_dataset_options
    assert train.batch_size <= survey.num_images[0]
    canvas = loaded.options.eval_dataset_options.crop_size
    assert 0 < canvas[0] * canvas[1] <= 2100 * 2100


def find(fields, name):
    return next(c.value for c in fields if c.path.endswith(name))


def test_most_choices_have_a_reason():
    fields = choose()
    reasons = [c.reason for c in fields if c.reason]
    assert len(reasons) > 20
    for reason in reasons:
        assert re.fullmatch(r"[A-Z].*\.", reason), reason


def test_small_objects_are_enlarged_and_large_photos_reduced():
    small = dataclasses.replace(
        PHOTOS, instance_sizes=Spread(4, 8, 12, 18, 25, 32, 90)
    )
    assert plan.choose_scale(small) == 2
    side = Spread(*[3000] * 7)
    large = dataclasses.replace(
        PHOTOS,
        heights=side,
        widths=side,
        instance_sizes=Spread(*[300] * 7),
    )
    assert plan.choose_scale(large) == 0.25
    crowded = dataclasses.replace(
        large, instance_sizes=Spread(15, 15, 28, 40, 90, 150, 300)
    )
    assert plan.choose_scale(crowded) == 0.5
    assert plan.choose_scale(PHOTOS) == 1


def test_a_few_larger_images_are_limited():
    wide = dataclasses.replace(
        PHOTOS, widths=Spread(*[480] * 6, 4000), num_sizes=2
    )
    made = plan.make_plan(wide, PLENTY, Wishes())
    assert made.max_side == 960
    assert plan.make_plan(PHOTOS, PLENTY, Wishes()).max_side == 0


def test_little_memory_means_fewer_crops():
    poor = dataclasses.replace(PLENTY, memory_bytes=2**30)
    batches = [
        plan.make_plan(PHOTOS, machine, Wishes()).batch
        for machine in (poor, PLENTY)
    ]
    assert batches[0] < batches[1]


def test_minutes_and_cores_decide_on_the_steps():
    def count(minutes, cores):
        machine = dataclasses.replace(PLENTY, cores=cores)
        return plan.make_plan(PHOTOS, machine, Wishes(minutes=minutes)).steps

    assert count(16, 2) == pytest.approx(2 * count(8, 2), rel=0.1)
    assert count(8, 8) > 2 * count(8, 2)


def test_without_weights_the_config_says_how_to_get_them():
    bare = Machine(2, 2**34, (), "They are not installed: pip install x.")
    fields = choose(machine=bare)
    assert find(fields, "backbone.name") == "mobilenet_v3_small"
    reason = next(c.reason for c in fields if c.path.endswith("backbone.name"))
    assert "pip install x." in reason
    assert not any("initial_checkpoint" in c.path for c in fields)


def test_images_without_things_get_a_semantic_model(tmp_path):
    plain = dataclasses.replace(
        PHOTOS,
        classes=PHOTOS.classes[:2],
        instance_sizes=None,
        center_distances=None,
        instances_per_image=Spread(*[0] * 7),
    )
    fields = choose(plain)
    assert find(fields, "instance.enable") is False
    assert not any("center" in c.path for c in fields)
    assert load(tmp_path, plain, fields)


def test_warnings_name_what_cannot_be_learned():
    lonely = dataclasses.replace(
        PHOTOS,
        num_images=(3, 1),
        classes=(
            *PHOTOS.classes,
            ClassSurvey("cat", True, (0, 50), (0, 1)),
            ClassSurvey("dog", True, (50, 0), (1, 0)),
        ),
        void_share=0.7,
    )
    text = "\n".join(choices.list_warnings(lonely))
    assert "3 training images are very few" in text
    assert "in no training image and cannot be learned: cat." in text
    assert "in no evaluation image and cannot be scored: dog." in text
    assert "one or two training images only: dog." in text
    assert "70 % of the pixels have no label" in text
    assert not choices.list_warnings(PHOTOS)
