# SPDX-License-Identifier: Apache-2.0
"""A small config on drawn scenes, and their records."""

import pytest

_OPTIONS = """\
trainer_options {
  save_checkpoints_steps: 2
  save_summaries_steps: 2
  steps_per_loop: 2
  seed: 3
  loss_options {
    semantic_loss { name: "softmax_cross_entropy" }
    center_loss { name: "mse" weight: 200 }
    regression_loss { name: "l1" weight: 0.1 }
  }
  solver_options {
    base_learning_rate: 0.001
    training_number_of_steps: 4
  }
}
train_dataset_options {
  dataset: "scenes"
  file_pattern: "${TRAIN_SET}"
  batch_size: 2
  crop_size: [65, 129]
  sigma: 4
}
eval_dataset_options {
  dataset: "scenes"
  file_pattern: "${VAL_SET}"
  batch_size: 2
  crop_size: [65, 129]
}
evaluator_options { eval_interval: 100 num_vis_samples: 1 keep_k_centers: 20 }
"""


@pytest.fixture(scope="session")
def scene_records(tmp_path_factory):
    """Returns a folder with 8 training and 3 validation scenes."""
    from deeplab2_like.scenes import records as scenes_records

    folder = tmp_path_factory.mktemp("scenes")
    for split, count in (("train", 8), ("val", 3)):
        scenes_records.write_records(
            str(folder), split, count, size=(65, 129), num_shards=2
        )
    return folder


@pytest.fixture
def count_traces(monkeypatch):
    """Returns a function that counts how often post-processing was traced."""
    from deeplab2_like.meta_architectures import system as system_lib

    original = system_lib.System.postprocess
    calls = []

    def postprocess(*arguments, **named):
        calls.append(arguments)
        return original(*arguments, **named)

    monkeypatch.setattr(system_lib.System, "postprocess", postprocess)
    return lambda: len(calls)


@pytest.fixture
def config_file(scene_records, write_config, tmp_path, monkeypatch):
    """Returns the config as a file, and sets its placeholders."""
    monkeypatch.setenv("TRAIN_SET", f"{scene_records}/train-*")
    monkeypatch.setenv("VAL_SET", f"{scene_records}/val-*")
    file = tmp_path / "small.textproto"
    file.write_text(write_config("small", 32, [1, 2, 3], _OPTIONS))
    return file
