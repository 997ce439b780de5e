# SPDX-License-Identifier: Apache-2.0
import json
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.naive_student import rounds
from deeplab2_like.trainer import run_options

pytest.importorskip("orbit")


def _load_weights(folder):
    """Returns the model's variables of the newest checkpoint, by name."""
    from deeplab2_like.checkpoints import files

    prefix = files.find_checkpoint(str(folder))
    keys = [key for key in files.list_keys(prefix) if "variables" in key]
    return {
        key: np.asarray(value)
        for key, value in files.read_values(prefix, keys).items()
    }


class _Stop:
    """Ends a run after a number of steps, as a kill does."""

    def __init__(self, count):
        self.left = count

    def __call__(self, *_):
        self.left -= 1
        if self.left == 0:
            raise SystemExit(75)


def _records(folder):
    return [path.read_bytes() for path in sorted(folder.rglob("pseudo-*"))]


@pytest.mark.slow
def test_rounds_that_are_stopped_anywhere_end_with_the_same_weights(
    rounds_config, tmp_path
):
    config = config_lib.parse(rounds_config)
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    results = rounds.run(config, whole)
    assert list(results) == ["teacher", "round_1/student", "fine_tuned"]
    # In the teacher, in the student and after it.
    for count in (3, 4, 3):
        with pytest.raises(SystemExit):
            rounds.run(config, stopped, on_step=_Stop(count))
    rounds.run(config, stopped)
    assert _records(whole) == _records(stopped)
    assert len(_records(whole)) == 1
    for name in ("teacher", "round_1/student", "fine_tuned"):
        expected = _load_weights(whole / name)
        found = _load_weights(stopped / name)
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value, err_msg=key)
    noted = json.loads((whole / rounds.STAGES_FILE).read_text())["stages"]
    assert all(entry["is_finished"] for entry in noted.values())
    steps = []
    rounds.run(config, whole, on_step=lambda *_: steps.append(1))
    assert steps == []  # All stages are finished.

    longer = config_lib.parse(
        rounds_config,
        ["trainer_options { solver_options { training_number_of_steps: 6 } }"],
    )
    with pytest.raises(errors.CheckpointError, match="made of another teacher"):
        rounds.run(longer, whole)


@pytest.fixture
def trained(monkeypatch):
    """Lets trainings and labels take no time; returns the names of those done.

    What is made depends on nothing but the number of calls.
    """
    import tensorflow as tf

    from deeplab2_like.naive_student import labelling
    from deeplab2_like.trainer import model_folder, runs

    done = []

    def train(config, folder, *_):
        model_folder.prepare(
            folder, config.options, sha256="", allow_config_change=True
        )
        done.append(pathlib.Path(folder).name)
        value = tf.train.Checkpoint(value=tf.Variable(len(done)))
        tf.train.CheckpointManager(
            value, folder, 1, checkpoint_name="ckpt"
        ).save()
        return {}

    def label(_, __, folder, options, **___):
        folder.mkdir(parents=True, exist_ok=True)
        done.append(folder.name)
        (folder / "MANIFEST.sha256").write_text(repr((len(done), options)))
        return labelling.Labelled("", 3, [], {}, 0.0)

    monkeypatch.setattr(runs, "run", train)
    monkeypatch.setattr(labelling, "label_images", label)
    return done


_ALLOWED = run_options.RunOptions(allow_config_change=True)


def _change(text, more):
    path = f"semi_supervised {{ naive_student {{ {more} }} }}"
    return config_lib.parse(text, [path])


def test_labels_of_other_options_are_replaced_only_where_it_is_asked(
    rounds_config, tmp_path, trained
):
    runs = tmp_path / "runs"
    rounds.run(config_lib.parse(rounds_config), runs)
    stages = ["teacher", "labels", "student", "fine_tuned"]
    assert trained == stages
    rounds.run(config_lib.parse(rounds_config), runs)
    assert trained == stages
    other = _change(rounds_config, "confidence_threshold: 0.5")
    with pytest.raises(errors.CheckpointError, match="options of its labels"):
        rounds.run(other, runs)
    # Students that learned from the old labels are not kept beside new ones.
    with pytest.raises(errors.CheckpointError) as caught:
        rounds.run(other, runs, options=_ALLOWED)
    for name in ("round_1/student", "fine_tuned"):
        assert str(runs / name) in str(caught.value)
    assert trained == stages
    for name in ("round_1/student", "fine_tuned"):
        shutil.rmtree(runs / name)
    rounds.run(other, runs, options=_ALLOWED)
    assert trained == [*stages, *stages[1:]]
    rounds.run(other, runs)
    assert trained == [*stages, *stages[1:]]


def test_a_student_of_other_labels_is_not_taken_for_one_of_these(
    rounds_config, tmp_path, trained
):
    runs = tmp_path / "runs"
    config = config_lib.parse(rounds_config)
    rounds.run(config, runs)
    (runs / "round_1/labels/MANIFEST.sha256").write_text("other labels")
    for options in (None, _ALLOWED):
        with pytest.raises(errors.CheckpointError) as caught:
            rounds.run(config, runs, options=options)
        text = str(caught.value)
        assert "made of another round_1/labels" in text
        assert f"Remove {runs}/round_1/student, {runs}/fine_tuned" in text
    assert len(trained) == 4


def test_a_mask_and_a_pattern_are_part_of_what_labels_are_made_of(
    rounds_config, rounds_folder, tmp_path, trained
):
    def draw(rows):
        mask = np.zeros((65, 129), np.uint8)
        mask[:rows] = 255
        Image.fromarray(mask).save(tmp_path / "mask.png")

    draw(5)
    runs = tmp_path / "runs"
    config = _change(rounds_config, f"ignore_mask: '{tmp_path}/mask.png'")
    rounds.run(config, runs)
    rounds.run(config, runs)
    assert len(trained) == 4
    draw(9)
    with pytest.raises(errors.CheckpointError, match="options of its labels"):
        rounds.run(config, runs)
    draw(5)
    shutil.copytree(rounds_folder, tmp_path / "copy")
    moved = config_lib.parse(
        config.text,
        [f"semi_supervised {{ unlabeled_pattern: '{tmp_path}/copy/unl*' }}"],
    )
    with pytest.raises(errors.CheckpointError, match="with other images"):
        rounds.run(moved, runs)


def test_images_that_changed_are_labelled_again_or_it_is_said(
    rounds_config, tmp_path, trained, capsys
):
    photos, runs = tmp_path / "photos", tmp_path / "runs"
    photos.mkdir()
    Image.new("RGB", (9, 9)).save(photos / "a.png")
    config = config_lib.parse(
        rounds_config, [f"semi_supervised {{ unlabeled_pattern: '{photos}' }}"]
    )
    rounds.run(config, runs)
    Image.new("RGB", (9, 9)).save(photos / "b.png")
    rounds.run(config, runs)
    assert trained == ["teacher", "labels", "student", "fine_tuned"]
    text = " ".join(capsys.readouterr().err.split())
    assert f"remove {runs}/round_1/labels, {runs}/round_1/student" in text
    for name in ("round_1/student", "fine_tuned"):
        shutil.rmtree(runs / name)
    rounds.run(config, runs)
    assert trained[4:] == ["labels", "student", "fine_tuned"]
    capsys.readouterr()
    rounds.run(config, runs)
    assert "changed" not in capsys.readouterr().err
    assert len(trained) == 7


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ("ignore_mask: 'none.png'", "none.png"),
        (
            "student_start: INITIAL_CHECKPOINT student_initial_checkpoint:"
            " 'none/ckpt-1' student_backbone { name: 'efficientnet_lite0'"
            " use_squeeze_and_excite: false }",
            "none/ckpt-1",
        ),
    ],
)
def test_what_labels_and_students_need_is_checked_before_the_teacher(
    rounds_config, tmp_path, trained, more, word
):
    with pytest.raises(errors.UserError, match=word):
        rounds.run(_change(rounds_config, more), tmp_path / "runs")
    assert trained == []


def test_images_of_evaluation_are_refused_before_the_teacher(
    rounds_config, rounds_folder, tmp_path, trained
):
    config = config_lib.parse(
        rounds_config,
        [f"semi_supervised {{ unlabeled_pattern: '{rounds_folder}/val-*' }}"],
    )
    with pytest.raises(errors.DataError, match="also in eval_dataset_options"):
        rounds.run(config, tmp_path / "runs")
    assert trained == []


def test_addresses_are_refused_in_one_sentence(rounds_config, tmp_path):
    config = config_lib.parse(rounds_config)
    with pytest.raises(errors.ConfigError, match="gs://b/run is an address"):
        rounds.run(config, "gs://b/run")
    for pattern, word in (
        ("gs://b/photos", "an address"),
        ("tfds:coco:train", "TensorFlow Datasets"),
    ):
        other = config_lib.parse(
            rounds_config,
            [f"semi_supervised {{ unlabeled_pattern: '{pattern}' }}"],
        )
        with pytest.raises(errors.DataError, match=word):
            rounds.run(other, tmp_path / "runs")


def test_a_config_without_rounds_and_a_missing_folder_are_refused(
    rounds_config, tmp_path, monkeypatch
):
    plain = config_lib.parse(
        rounds_config, ["semi_supervised { method: NONE }"]
    )
    with pytest.raises(errors.ConfigError, match="deeplab2-train"):
        rounds.run(plain, tmp_path / "runs")
    missing = config_lib.parse(
        rounds_config,
        [f"semi_supervised {{ unlabeled_pattern: '{tmp_path}/none' }}"],
    )
    with pytest.raises(errors.DataError, match="none does not exist"):
        rounds.run(missing, tmp_path / "runs")
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(errors.ConfigError, match="TF_CONFIG"):
        rounds.run(config_lib.parse(rounds_config), tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_the_trainer_names_the_program_for_rounds(rounds_config, tmp_path):
    from deeplab2_like.trainer import run_checks

    with pytest.raises(errors.ConfigError, match="deeplab2-naive-student"):
        run_checks.check(
            config_lib.parse(rounds_config),
            str(tmp_path),
            "train",
            run_options.RunOptions(),
        )
