# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.config import InvalidConfigError, explain


def test_a_message_lists_its_fields_with_defaults():
    text = explain.explain("evaluator_options")
    assert text.startswith("evaluator_options: EvaluatorOptions")
    assert "  nms_kernel: int32 = 3" in text
    assert "  pq_variant: PanopticQualityVariant = PANOPTICAPI" in text


def test_a_field_at_several_places_is_explained_once():
    text = explain.explain("crop_size")
    assert text.count("Canvas [height, width]") == 1
    assert "train_dataset_options.crop_size: list of int32" in text
    assert "also at: eval_dataset_options.crop_size" in text


def test_fields_of_one_name_and_different_meaning_are_all_explained():
    text = explain.explain("low_level")
    assert "model_options.deeplab_v3_plus.low_level: LowLevelOptions" in text
    assert "model_options.panoptic_deeplab.low_level: list of" in text
    assert "motion_deeplab" not in text


def test_indices_in_a_path_are_ignored():
    path = "model_options.panoptic_deeplab.low_level[1].channels_project"
    assert "1x1 convolution" in explain.explain(path)


def test_a_refused_field_says_so():
    assert "Refused" in explain.explain("model_options.max_deeplab")


def test_the_top_is_listed_without_a_name():
    assert "train_dataset_options: DatasetOptions" in explain.explain("")


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(InvalidConfigError, match="nearest: sigma"):
        explain.explain("sigm")
