# SPDX-License-Identifier: Apache-2.0
"""Labellers without a network, images to label, and a config of rounds."""

import importlib.util
import pathlib

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def fake_labellers():
    """Returns the module `fake_labeller`."""
    path = pathlib.Path(__file__).with_name("fake_labeller.py")
    spec = importlib.util.spec_from_file_location("fake_labeller", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def fake(fake_labellers, monkeypatch):
    """Lets every folder hold a model that needs no network; returns it."""
    found = fake_labellers.FakeLabeller()
    fake_labellers.install(found, monkeypatch.setattr)
    return found


@pytest.fixture(scope="session")
def write_images():
    """Returns a function that writes images of noise, of several sizes."""

    def write(folder, count=5):
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(count):
            rng = np.random.default_rng(number)
            size = (20 + number, 40 - number)
            pixels = rng.integers(0, 256, (*size, 3), np.uint8)
            Image.fromarray(pixels).save(folder / f"{number}.png")
        return folder

    return write


@pytest.fixture
def read_records():
    """Returns a function that reads name, image and label of records."""
    from deeplab2_like.data import checks, pipeline
    from deeplab2_like.labels import descriptor

    rules = pipeline.LabelRules.from_descriptor(descriptor.load("scenes"))

    def read(pattern):
        found = {}
        load = checks.make_loader(rules)

        def add(record):
            found[record.name] = load(record.path, record.offset)

        report = checks.check_records([pattern], rules, report_image=add)
        assert report.problems == []
        return found

    return read


_ROUNDS = """\
trainer_options {
  save_checkpoints_steps: 2
  save_summaries_steps: 2
  steps_per_loop: 1
  seed: 3
  deterministic: true
  loss_options {
    semantic_loss { name: "softmax_cross_entropy" }
    center_loss { name: "mse" weight: 200 }
    regression_loss { name: "l1" weight: 0.1 }
  }
  solver_options { base_learning_rate: 0.01 training_number_of_steps: 4 }
}
train_dataset_options {
  dataset: "scenes"
  file_pattern: "FOLDER/train-*"
  batch_size: 2
  crop_size: [65, 129]
  sigma: 4
}
eval_dataset_options {
  dataset: "scenes"
  file_pattern: "FOLDER/val-*"
  batch_size: 1
  crop_size: [65, 129]
}
evaluator_options { eval_interval: 100 num_vis_samples: 1 keep_k_centers: 20 }
semi_supervised {
  method: NAIVE_STUDENT
  unlabeled_pattern: "FOLDER/unlabeled-*"
  naive_student {
    rounds: 1
    student_start: TEACHER
    student_steps: 3
    fine_tuning_steps: 2
    label_mirrored: true
    confidence_threshold: 0.1
  }
}
"""


@pytest.fixture(scope="session")
def rounds_folder(tmp_path_factory):
    """Returns a folder with records, some of them without labels."""
    import tensorflow as tf

    from deeplab2_like.data.records import features
    from deeplab2_like.scenes import records as scenes_records

    folder = tmp_path_factory.mktemp("rounds")
    size = (65, 129)
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        scenes_records.write_records(
            str(folder), split, count, size=size, num_shards=1
        )
    (file,) = folder.glob("test-*")
    with tf.io.TFRecordWriter(
        str(folder / "unlabeled-00000-of-00001.tfrecord")
    ) as writer:
        for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator():
            parsed = features.parse_example(record)
            image = parsed["image"].numpy()
            is_png = image.startswith(b"\x89PNG")
            writer.write(
                features.encode_example(
                    name=parsed["name"].numpy().decode(),
                    image=image,
                    image_format="png" if is_png else "jpeg",
                    size=size,
                )
            )
    return folder


@pytest.fixture(scope="session")
def rounds_config(rounds_folder, write_config):
    """Returns the config of a round, as text."""
    text = _ROUNDS.replace("FOLDER", str(rounds_folder))
    return write_config("rounds", 32, [1, 2, 3], text)
