# SPDX-License-Identifier: Apache-2.0
"""A config as a whole."""


def test_the_valid_config_has_no_findings(find_problems, find_warnings):
    assert find_problems() == []
    assert find_warnings() == []


def test_all_problems_are_reported_at_once(find_problems, valid_text):
    text = (
        valid_text.replace("nms_kernel: 7", "nms_kernel: 0")
        .replace("[97, 129]", "[100, 129]")
        .replace("[6, 12, 18]", "[6, 12]")
        .replace("top_k_percent: 0.2", "top_k_percent: 0")
    )
    found = find_problems(text=text)
    assert [p.path for p in found] == [
        "model_options.decoder.atrous_rates",
        "trainer_options.loss_options.semantic_loss.top_k_percent",
        "train_dataset_options.crop_size[0]",
        "eval_dataset_options.crop_size[0]",
        "evaluator_options.nms_kernel",
    ]
    assert [p.line for p in found] == [4, 17, 25, 30, 32]
    assert all(p.source == "t.textproto" for p in found)
    assert all(p.rule for p in found)
    assert all(p.fix for p in found)


def test_more_centers_than_ids_is_a_warning(find_warnings):
    (found,) = find_warnings("evaluator_options { keep_k_centers: 1000 }")
    assert "at most 999 instances" in found.rule
    assert not find_warnings("evaluator_options { keep_k_centers: 999 }")


def test_the_crop_fits_the_largest_canvas(find_problems):
    (found,) = find_problems("evaluator_options { max_pixels: 1000 }")
    assert "97 x 129" in found.rule
    assert not find_problems("evaluator_options { max_pixels: 0 }")
