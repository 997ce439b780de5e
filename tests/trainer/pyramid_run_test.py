# SPDX-License-Identifier: Apache-2.0
"""Systems on a pyramid through all programs: nothing in them knows them."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config
from deeplab2_like.config.rules import pyramid as pyramid_rules
from deeplab2_like.exports import saved_model
from deeplab2_like.scenes import scene
from deeplab2_like.trainer import run, run_options

pytestmark = pytest.mark.slow

_SMALL = (
    "trainer_options { save_checkpoints_steps: 2 save_summaries_steps: 2 "
    "steps_per_loop: 2 solver_options { training_number_of_steps: 4 "
    "warmup_steps: 0 } }",
    "train_dataset_options { batch_size: 2 crop_size: [65, 129] }",
    "eval_dataset_options { crop_size: [65, 129] }",
    "evaluator_options { num_vis_samples: 1 }",
)
# Config -> losses of its instance branch.
_SYSTEMS = {
    "panoptic_fpn": pyramid_rules.MASK_RCNN_LOSSES,
    "efficientps": pyramid_rules.MASK_RCNN_LOSSES,
    "efficientps_solov2": pyramid_rules.SOLOV2_LOSSES,
}


@pytest.fixture(scope="module", params=_SYSTEMS)
def system(request):
    return request.param


@pytest.fixture(scope="module")
def trained(system, scene_records, tmp_path_factory):
    """A model folder after four steps, and what its evaluation gave."""
    folder = tmp_path_factory.mktemp(system) / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRAIN_SET", f"{scene_records}/train-*")
        patch.setenv("VAL_SET", f"{scene_records}/val-*")
        loaded = config.load(f"scenes/{system}_mobilenet_v3_small", _SMALL)
        results = run.run_experiment(loaded, str(folder), "train_and_eval")
    return folder, results


def test_training_and_evaluation_give_all_losses_and_metrics(system, trained):
    _, results = trained
    summaries = results["summaries"]
    for name in ("semantic_loss", *_SYSTEMS[system]):
        assert np.isfinite(summaries[f"losses/eval_{name}"]), name
    assert "evaluation/pq/PQ" in summaries
    assert "evaluation/ap/AP_Mask" in summaries


@pytest.mark.parametrize("canvas", ["config", "fit"])
def test_the_saved_model_gives_what_the_model_gives(trained, tmp_path, canvas):
    """The export itself compares, and refuses where they differ."""
    folder, _ = trained
    options = saved_model.ExportOptions(canvas=canvas, writes_warmup=False)
    info = saved_model.export(str(folder), str(tmp_path / "saved"), options)
    assert info.parity["images"] == 4
    loaded = tf.saved_model.load(str(tmp_path / "saved"))
    images = np.stack([scene.make_scene(s, (50, 100)).image for s in (0, 1)])
    outputs = loaded.signatures["serving_default"](images=tf.constant(images))
    assert outputs["panoptic"].shape == (2, 50, 100)


def test_tuned_thresholds_give_what_an_evaluation_gives(
    system, trained, count_traces
):
    folder, results = trained
    loaded = config.load(str(folder / "config.textproto"))
    tuned = run.run_experiment(loaded, str(folder), run_options.TUNE)
    assert count_traces() == 1
    pq = "evaluation/pq/PQ"
    assert tuned["before"] == results["summaries"][pq]
    branch = "solov2" if system.endswith("solov2") else "in"
    names = [row["field"] for row in tuned["settings"]]
    assert names[0].endswith(".merge_score_threshold")
    assert branch in names[0] or "mask_rcnn" in names[0]
    loaded = config.load(tuned["config"])
    evaluated = run.run_experiment(loaded, str(folder), "eval")
    assert evaluated["summaries"][pq] == tuned["after"]
