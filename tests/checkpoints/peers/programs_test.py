# SPDX-License-Identifier: Apache-2.0
"""Models that were converted whole go through all programs."""

import pickle

import numpy as np
import pytest

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints.peers import conversion
from deeplab2_like.data.records import features, writer
from deeplab2_like.exports import saved_model
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.scenes import records, scene
from deeplab2_like.trainer import run

pytestmark = pytest.mark.slow

_SIZE = (64, 96)
_SHORT = (
    "trainer_options { save_checkpoints_steps: 2 save_summaries_steps: 2 "
    "steps_per_loop: 2 solver_options { training_number_of_steps: 2 "
    "warmup_steps: 0 base_learning_rate: 0.00001 } }",
    "evaluator_options { save_predictions: false }",
)
# Whose model -> what makes its images small.
_SMALL = {
    "panoptic_deeplab": (
        "train_dataset_options { batch_size: 1 crop_size: [65, 97] }",
        "eval_dataset_options { crop_size: [65, 97] }",
    ),
    "detectron2_panoptic_fpn": (
        "model_options { panoptic_fpn { instance { level_proposals: 40 "
        "train_level_proposals: 40 num_proposals: 30 region_samples: 16 "
        "max_detections: 10 max_instances: 10 } } }",
        "train_dataset_options { batch_size: 1 crop_size: [64, 96] "
        "min_resize_value: 64 max_resize_value: 96 }",
        "eval_dataset_options { min_resize_value: 64 max_resize_value: 96 }",
    ),
}


@pytest.fixture(
    params=[
        ("panoptic_deeplab", "model.pth"),
        ("detectron2_panoptic_fpn", "model_final.pkl"),
    ],
    ids=lambda pair: pair[0],
)
def peer(request, monkeypatch, tmp_path, make_peer):
    """Whose model it is, and its file; records are where the config says."""
    name, file = request.param
    data = "coco_panoptic" if "fpn" in name else "cityscapes_panoptic"
    for split, variable in (("train", "TRAIN_SET"), ("val", "VAL_SET")):
        _write_records(tmp_path / "records", split, data)
        monkeypatch.setenv(variable, f"{tmp_path}/records/{split}-*")
    path = tmp_path / file
    content = {"model": make_peer[name](seed=0), "__author__": "a test"}
    path.write_bytes(pickle.dumps(content))
    return name, path


@pytest.fixture
def make_peer(make_panoptic_deeplab, make_panoptic_fpn):
    return {
        "panoptic_deeplab": make_panoptic_deeplab,
        "detectron2_panoptic_fpn": make_panoptic_fpn,
    }


def _write_records(folder, split, data):
    """Draws scenes, and gives their classes those of another data set."""
    own = descriptor_lib.load("scenes")
    other = descriptor_lib.load(data)
    names = [other.ignore_label] * 256
    for ours, theirs in (
        (own.stuff_ids, other.stuff_ids),
        (own.thing_ids, other.thing_ids),
    ):
        for index, category in enumerate(ours):
            names[category] = theirs[index]
    examples = []
    for seed in range(2):
        made = scene.make_scene(seed, _SIZE)
        category, instance = np.divmod(made.panoptic, own.label_divisor)
        panoptic = np.array(names)[category] * other.label_divisor + instance
        examples.append(
            features.encode_example(
                name=f"{split}_{seed}",
                image=records.encode_png(made.image),
                image_format="png",
                size=_SIZE,
                panoptic=panoptic.astype(np.int32),
            )
        )
    writer.write_shards(examples, len(examples), str(folder), split, 1)


def test_a_converted_model_is_evaluated_exported_and_trained(peer, tmp_path):
    name, path = peer
    folder = f"{tmp_path}/converted"
    overrides = [*_SMALL[name], *_SHORT]
    done = conversion.convert(
        str(path), f"{folder}/", conversion.Options(overrides=overrides)
    )
    assert done.peer == name
    assert not done.report.missing
    config = config_lib.load(done.config_path)
    summaries = run.run_experiment(config, folder, "eval")["summaries"]
    assert 0.0 <= summaries["evaluation/pq/PQ"] <= 1.0
    info = saved_model.export(
        folder,
        f"{tmp_path}/saved",
        saved_model.ExportOptions(writes_warmup=False),
    )
    assert info.parity["images"] == 4
    trained = f"{tmp_path}/trained"
    run.run_experiment(config, trained, "train")
    # Two small steps away from the file.
    before = checkpoint_files.read_checkpoint(done.prefix)
    after = checkpoint_files.read_checkpoint(
        checkpoint_files.find_checkpoint(trained)
    )
    weights = [key for key in before if key.startswith("variables/")]
    assert len(weights) == len(done.report.loaded)
    for key in weights:
        assert np.isfinite(after[key]).all()
        if key.endswith("/kernel"):
            np.testing.assert_allclose(after[key], before[key], atol=0.01)
