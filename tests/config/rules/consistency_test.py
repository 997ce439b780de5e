# SPDX-License-Identifier: Apache-2.0
"""The rules of consistency between views of images without labels."""

import pytest

_DECAY = "trainer_options { solver_options { ema_decay: 0.99 } }"
_USED = (
    "semi_supervised { method: MEAN_TEACHER unlabeled_pattern: 'photos/' "
    "consistency { OPTIONS } }"
)


def _write(options=""):
    return _USED.replace("OPTIONS", options)


@pytest.mark.parametrize("method", ["MEAN_TEACHER", "WEAK_TO_STRONG"])
def test_both_methods_need_images_and_a_teacher(
    method, find_problems, find_warnings
):
    used = _write().replace("MEAN_TEACHER", method)
    assert find_problems(used, _DECAY) == find_warnings(used, _DECAY) == []
    (found,) = find_problems(used)
    assert found.path == "trainer_options.solver_options.ema_decay"
    assert method in found.rule
    (found,) = find_problems(f"semi_supervised {{ method: {method} }}", _DECAY)
    assert found.path == "semi_supervised.unlabeled_pattern"


def test_a_teacher_that_is_nearly_the_student_is_a_warning(find_warnings):
    decay = _DECAY.replace("0.99", "0.5")
    (found,) = find_warnings(_write(), decay)
    assert found.path == "trainer_options.solver_options.ema_decay"


def test_systems_with_boxes_are_sent_to_pseudo_labels(
    find_problems, find_in_pyramid
):
    def find(text):
        found = find_problems(_write(), _DECAY, text=text)
        return [p for p in found if "method: NAIVE_STUDENT" in p.fix]

    paths = find_in_pyramid(
        find,
        "panoptic_fpn { instance { enable: false } }",
        'semantic_loss { name: "softmax_cross_entropy" }',
    )
    assert paths == {"semi_supervised.method"}


def test_images_are_exchanged_in_pairs(find_problems):
    (found,) = find_problems(_write("batch_size: 3"), _DECAY)
    assert found.path == "semi_supervised.consistency.batch_size"
    assert "batch_size: 4" in found.fix
    assert not find_problems(
        _write("batch_size: 3 cut_mix_probability: 0"), _DECAY
    )
    odd = "train_dataset_options { batch_size: 5 }"
    (found,) = find_problems(_write(), _DECAY, odd)
    assert found.path == "semi_supervised.consistency.cut_mix_probability"
    assert "it is 5" in found.rule
    assert not find_problems(_write("batch_size: 4"), _DECAY, odd)


def test_ranges_begin_at_their_smaller_end(find_problems):
    (found,) = find_problems(_write("min_scale: 2 max_scale: 1"), _DECAY)
    assert found.path == "semi_supervised.consistency.max_scale"
    (found,) = find_problems(
        _write("blur { min_sigma: 3 max_sigma: 2 }"), _DECAY
    )
    assert found.path == "semi_supervised.consistency.blur.max_sigma"


def test_options_without_their_method_are_a_warning(find_warnings):
    unused = _write("batch_size: 2").replace("MEAN_TEACHER", "NONE")
    (found,) = find_warnings(unused)
    assert found.path == "semi_supervised.consistency"
    assert "MEAN_TEACHER" in found.fix


def test_weights_of_maps_that_do_not_exist_are_a_warning(find_warnings):
    no_instances = (
        "model_options { panoptic_deeplab { instance { enable: false } } }"
    )
    found = find_warnings(
        _write("center_weight: 2 offset_weight: 1"), _DECAY, no_instances
    )
    paths = {problem.path for problem in found}
    assert "semi_supervised.consistency.center_weight" in paths
    assert "semi_supervised.consistency.offset_weight" in paths
