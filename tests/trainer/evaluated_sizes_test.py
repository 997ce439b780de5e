# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.config import sizes
from deeplab2_like.protos import config_pb2
from deeplab2_like.trainer import evaluated_sizes


def _make(**kwargs):
    rules = evaluated_sizes.SizeRules(
        crop_size=(129, 257), output_stride=16, **kwargs
    )
    return evaluated_sizes.EvaluatedSizes(rules)


def test_images_that_are_made_smaller_are_told_once_with_the_way_out():
    found = _make()
    found.add("small", (100, 200), (100, 200))
    found.add("a", (360, 480), (129, 172))
    found.add("b", (300, 500), (129, 215))
    (warning,) = found.warnings()
    assert "2 of 3 images" in warning
    assert "'a' of 360 x 480 at 129 x 172 pixels" in warning
    assert "eval_dataset_options.crop_size" in warning
    assert "crop_size: [369, 513]" in warning
    assert sizes.is_legal_canvas(369, 16)
    assert sizes.is_legal_canvas(513, 16)
    assert "pad_to_multiple_of: 16" in warning


def test_a_limit_that_was_asked_for_is_named():
    found = _make(has_limit=True)
    found.add("a", (360, 480), (129, 172))
    (warning,) = found.warnings()
    assert "eval_dataset_options.max_resize_value" in warning
    assert "pad_to_multiple_of" not in warning


@pytest.mark.parametrize(
    ("factor", "original", "evaluated"),
    [
        (1.0, (129, 257), (129, 257)),
        (2.0, (64, 100), (128, 200)),
        (0.5, (201, 401), (100, 200)),
        (1.0, (50, 50), (129, 129)),
    ],
)
def test_full_and_enlarged_sizes_are_silent(factor, original, evaluated):
    found = _make(scale_factor=factor)
    found.add("a", original, evaluated)
    assert found.warnings() == []


def test_an_enlargement_that_did_not_fit_is_told():
    found = _make(scale_factor=2.0)
    found.add("a", (100, 200), (128, 257))
    assert len(found.warnings()) == 1


def test_the_rules_come_from_the_config():
    options = config_pb2.ExperimentOptions()
    options.eval_dataset_options.crop_size.append(65)
    options.model_options.backbone.output_stride = 8
    rules = evaluated_sizes.SizeRules.from_options(options)
    assert rules == evaluated_sizes.SizeRules((65, 65), 8)
    options.eval_dataset_options.max_resize_value.append(60)
    assert evaluated_sizes.SizeRules.from_options(options).has_limit
