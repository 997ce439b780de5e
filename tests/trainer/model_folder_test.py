# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import errors
from deeplab2_like.config import run_config
from deeplab2_like.protos import config_pb2
from deeplab2_like.trainer import model_folder


def _make_options(steps=100, name="first"):
    options = config_pb2.ExperimentOptions()
    options.experiment_name = name
    options.trainer_options.solver_options.training_number_of_steps = steps
    options.train_dataset_options.crop_size.extend([65, 129])
    return options


def _prepare(folder, options, **kwargs):
    return model_folder.prepare(str(folder), options, sha256="0" * 64, **kwargs)


def test_a_new_folder_gets_the_config(tmp_path):
    folder = tmp_path / "runs" / "first"
    assert _prepare(folder, _make_options()) == []
    assert run_config.load_run_config(str(folder)) == _make_options()


def test_the_same_config_is_accepted_again(tmp_path):
    _prepare(tmp_path, _make_options())
    assert _prepare(tmp_path, _make_options()) == []


def test_another_config_is_refused_with_the_differences(tmp_path):
    _prepare(tmp_path, _make_options())
    other = _make_options(steps=50)
    other.train_dataset_options.crop_size[1] = 257
    with pytest.raises(errors.CheckpointError) as info:
        _prepare(tmp_path, other)
    text = str(info.value)
    assert "training_number_of_steps: was 100, is now 50" in text
    assert "crop_size[1]: was 129, is now 257" in text
    assert run_config.load_run_config(str(tmp_path)) == _make_options()


def test_another_config_is_accepted_on_request(tmp_path):
    _prepare(tmp_path, _make_options())
    differences = _prepare(
        tmp_path, _make_options(steps=50), allow_config_change=True
    )
    assert len(differences) == 1


def test_a_longer_training_needs_no_request_and_is_told(tmp_path):
    _prepare(tmp_path, _make_options())
    (difference,) = _prepare(tmp_path, _make_options(steps=200))
    assert "training_number_of_steps: was 100, is now 200" in difference
    kept = run_config.load_run_config(str(tmp_path))
    solver = kept.trainer_options.solver_options
    assert solver.training_number_of_steps == 200


def _make_options_of_own_dataset(folder, text):
    folder.mkdir(exist_ok=True)
    file = folder / "cells.textproto"
    file.write_text(text)
    options = _make_options()
    options.train_dataset_options.dataset = str(file)
    options.eval_dataset_options.dataset = str(file)
    return options


def test_descriptors_of_the_user_are_kept_in_the_folder(tmp_path):
    run = tmp_path / "run"
    options = _make_options_of_own_dataset(tmp_path / "mine", "name: 'cells'")
    _prepare(run, options)
    (tmp_path / "mine" / "cells.textproto").unlink()
    kept = run_config.load_run_config(str(run))
    assert kept.train_dataset_options.dataset == "train_cells.textproto"
    assert kept.eval_dataset_options.dataset == "eval_cells.textproto"
    assert (run / "train_cells.textproto").read_text() == "name: 'cells'"
    # A run that continues from the folder's own config keeps the names.
    for split in (kept.train_dataset_options, kept.eval_dataset_options):
        split.dataset = str(run / split.dataset)
    assert _prepare(run, kept) == []
    assert len(list(run.glob("*.textproto"))) == 3


def test_another_descriptor_of_the_same_name_is_refused(tmp_path):
    run = tmp_path / "run"
    _prepare(run, _make_options_of_own_dataset(tmp_path / "mine", "name: 'a'"))
    other = _make_options_of_own_dataset(tmp_path / "theirs", "name: 'b'")
    with pytest.raises(errors.CheckpointError, match="another content"):
        _prepare(run, other)
    assert (run / "train_cells.textproto").read_text() == "name: 'a'"


def test_comments_and_colors_of_a_descriptor_may_change(tmp_path):
    run = tmp_path / "run"
    _prepare(run, _make_options_of_own_dataset(tmp_path / "a", "name: 'a'"))
    other = _make_options_of_own_dataset(
        tmp_path / "b", "# Of today.\nname: 'a' description: 'cells'"
    )
    assert _prepare(run, other) == []
    assert "cells" in (run / "train_cells.textproto").read_text()


def test_what_does_not_touch_the_weights_may_change(tmp_path):
    _prepare(tmp_path, _make_options())
    other = _make_options()
    other.evaluator_options.nms_kernel = 13
    other.trainer_options.save_checkpoints_steps = 5
    assert _prepare(tmp_path, other) == []


def test_a_file_in_place_of_the_folder_is_one_sentence(tmp_path):
    file = tmp_path / "run"
    file.write_text("")
    with pytest.raises(errors.CheckpointError, match="is a file"):
        _prepare(file, _make_options())


def test_a_folder_that_is_no_model_folder_is_one_sentence(tmp_path):
    with pytest.raises(errors.CheckpointError, match="not a model folder"):
        run_config.load_run_config(str(tmp_path))
