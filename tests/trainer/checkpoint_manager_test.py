# SPDX-License-Identifier: Apache-2.0
import pathlib
import re
import shutil

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.trainer import checkpoint_manager


def _make_state(value):
    return {
        "variables": {
            "net/conv/kernel": tf.Variable(tf.fill([2, 3], float(value))),
            "net/v1.5/bias": tf.Variable([float(value)]),
        },
        "optimizer": {"adam/iterations": tf.Variable(value, dtype=tf.int64)},
    }


def _fill(state, step, value):
    step.assign(value)
    for variable in tf.nest.flatten(state):
        variable.assign(tf.cast(tf.fill(variable.shape, value), variable.dtype))


def _make_manager(folder, state, step, *, keep=3, interval=10, is_async=False):
    return checkpoint_manager.make_manager(
        str(folder),
        state,
        step,
        checkpoint_manager.SaveOptions(
            keep=keep, interval_steps=interval, is_async=is_async
        ),
    )


@pytest.fixture(params=["at once", "in the background"])
def folder(tmp_path, request):
    """A model folder with the checkpoints of steps 10, 20 and 30."""
    state = _make_state(0)
    step = tf.Variable(0, dtype=tf.int64)
    manager = _make_manager(
        tmp_path, state, step, is_async=request.param != "at once"
    )
    for value in (10, 20, 30):
        _fill(state, step, value)
        manager.save(checkpoint_number=step)
        _fill(state, step, 77)  # As the steps that go on meanwhile.
    manager.sync()
    return tmp_path


def _restore(folder, state=None, **options):
    state = state or _make_state(0)
    step = tf.Variable(0, dtype=tf.int64)
    prefix = checkpoint_manager.restore_latest(
        str(folder), state, step, **options
    )
    values = {v.numpy().flat[0] for v in tf.nest.flatten(state)}
    return prefix, int(step), values


def test_the_newest_checkpoint_is_restored_with_all_its_values(folder):
    prefix, step, values = _restore(folder)
    assert pathlib.Path(prefix).name == "ckpt-30"
    assert step == 30
    assert values == {30}


def _list_saved(folder, steps, *, start=0, interval=50, last=None):
    step = tf.Variable(start, dtype=tf.int64)
    manager = _make_manager(
        folder, _make_state(0), step, keep=9, interval=interval
    )
    for value in steps:
        step.assign(value)
        manager.save(checkpoint_number=step)
    if last is not None:
        step.assign(last)
        manager.save_now()
        manager.save_now()
    prefixes = checkpoint_files.list_checkpoints(str(folder))
    assert manager.last_step == int(prefixes[-1].rpartition("-")[2])
    return [int(prefix.rpartition("-")[2]) for prefix in prefixes]


def test_checkpoints_fall_on_multiples_also_after_a_stop(tmp_path):
    # As by loops of ten steps, a stop at 70, and then the rest.
    assert _list_saved(tmp_path, range(10, 70, 10), last=70) == [50, 70]
    more = _list_saved(tmp_path, range(80, 170, 10), start=70, last=160)
    assert more == [50, 70, 100, 150, 160]


def test_the_step_that_was_restored_is_not_saved_again(folder):
    before = (folder / "ckpt-30.index").stat().st_mtime_ns
    assert _list_saved(folder, [30], start=30, interval=10) == [10, 20, 30]
    assert (folder / "ckpt-30.index").stat().st_mtime_ns == before


def test_a_complete_run_is_found_unless_it_is_damaged(folder):
    found = checkpoint_manager.find_trained(str(folder), 30)
    assert found == (str(folder / "ckpt-30"), 30)
    assert checkpoint_manager.find_trained(str(folder), 31) is None
    assert checkpoint_manager.find_trained(str(folder / "no"), 1) is None
    _truncate(folder / "ckpt-30.data-00000-of-00001")
    assert checkpoint_manager.find_trained(str(folder), 30) is None
    (folder / "checkpoint").write_text("")
    with pytest.raises(errors.CheckpointError, match="--repair"):
        checkpoint_manager.find_trained(str(folder), 30)


def test_an_empty_folder_restores_nothing(tmp_path):
    assert _restore(tmp_path) == (None, 0, {0})


def test_names_with_slashes_and_dots_are_read_back(folder):
    values = checkpoint_files.read_checkpoint(str(folder / "ckpt-20"))
    np.testing.assert_array_equal(
        values["variables/net/conv/kernel"], np.full((2, 3), 20.0)
    )
    assert "variables/net/v1.5/bias" in values


def _truncate(file):
    data = file.read_bytes()
    file.write_bytes(data[: len(data) // 2])


def _flip_a_bit(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 3] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize(
    ("file", "damage"),
    [
        ("ckpt-30.data-00000-of-00001", _truncate),
        ("ckpt-30.data-00000-of-00001", _flip_a_bit),
        ("ckpt-30.data-00000-of-00001", pathlib.Path.unlink),
        ("ckpt-30.index", _truncate),
    ],
)
def test_a_damaged_newest_checkpoint_is_passed_over(folder, file, damage):
    damage(folder / file)
    warnings = []
    prefix, step, values = _restore(folder, warn=warnings.append)
    assert pathlib.Path(prefix).name == "ckpt-20"
    assert (step, values) == (20, {20})
    (warning,) = warnings
    assert re.search(r"ckpt-30 is damaged .* for the older .*ckpt-20", warning)


def test_only_damaged_checkpoints_are_an_error(folder):
    for step in (10, 20, 30):
        _truncate(folder / f"ckpt-{step}.data-00000-of-00001")
    with pytest.raises(errors.CheckpointError, match="damaged or incomplete"):
        _restore(folder)


@pytest.mark.parametrize(
    "damage",
    [
        pathlib.Path.unlink,
        lambda file: file.write_text(""),
        lambda file: file.write_text('model_checkpoint_path: "ck'),
        lambda file: file.write_text('model_checkpoint_path: "ckpt-77"'),
    ],
)
def test_a_broken_state_file_is_an_error_and_can_be_repaired(folder, damage):
    damage(folder / "checkpoint")
    with pytest.raises(
        errors.CheckpointError, match=r"up to ckpt-30.*--repair"
    ):
        _restore(folder)
    checkpoint_files.repair_state_file(str(folder))
    assert _restore(folder)[1] == 30


def test_a_first_checkpoint_needs_no_state_file(folder):
    # As a process leaves it that is killed before it writes the file.
    for path in [*folder.glob("ckpt-[23]0.*"), folder / "checkpoint"]:
        path.unlink()
    assert _restore(folder)[1] == 10


def test_a_state_file_without_its_checkpoints_is_an_error(folder):
    for index in folder.glob("*.index"):
        index.unlink()
    checkpoint_files.purge_unfinished(str(folder))
    # That of the checkpoint whose index was lost stays.
    assert [p.name for p in folder.glob("*.data*")] == [
        "ckpt-30.data-00000-of-00001"
    ]
    with pytest.raises(errors.CheckpointError, match="names ckpt-30: its"):
        _restore(folder)
    (folder / "checkpoint").unlink()
    assert _restore(folder) == (None, 0, {0})


def test_a_checkpoint_in_the_background_has_the_values_of_its_moment(folder):
    for step in (10, 20, 30):
        values = checkpoint_files.read_checkpoint(f"{folder}/ckpt-{step}")
        assert {v.flat[0] for v in map(np.asarray, values.values())} == {step}


def test_a_failure_in_the_background_is_raised_by_what_waits_for_it(tmp_path):
    state, step = _make_state(0), tf.Variable(10, dtype=tf.int64)
    model_dir = tmp_path / "run"
    manager = _make_manager(model_dir, state, step, is_async=True)
    manager.save_now()
    assert manager.saved_step == 10
    shutil.rmtree(model_dir)
    model_dir.write_text("no folder")
    step.assign(20)
    manager.save()
    with pytest.raises((errors.CheckpointError, tf.errors.OpError)):
        manager.sync()
    assert manager.last_step == manager.saved_step == 10
    model_dir.unlink()
    step.assign(30)
    manager.save()
    manager.sync()
    assert manager.saved_step == 30
    assert _restore(model_dir)[1] == 30


@pytest.mark.parametrize("is_async", [False, True])
def test_a_state_file_that_cannot_be_written_is_an_error(tmp_path, is_async):
    state, step = _make_state(0), tf.Variable(10, dtype=tf.int64)
    manager = _make_manager(tmp_path, state, step, is_async=is_async)
    manager.save_now()
    (tmp_path / "checkpoint").unlink()
    (tmp_path / "checkpoint").mkdir()
    (tmp_path / "checkpoint" / "file").write_text("")
    step.assign(20)
    with pytest.raises((errors.CheckpointError, tf.errors.OpError)):
        manager.save_now()
    assert checkpoint_files.read_step(f"{tmp_path}/ckpt-20") == 20
    shutil.rmtree(tmp_path / "checkpoint")
    step.assign(30)
    manager.save_now()
    assert checkpoint_files.read_state_file(str(tmp_path)).endswith("ckpt-30")


@pytest.mark.parametrize("is_async", [False, True])
def test_a_checkpoint_that_lacks_a_variable_is_deleted(tmp_path, is_async):
    step = tf.Variable(10, dtype=tf.int64)
    manager = checkpoint_manager.CheckpointManager(
        tf.train.Checkpoint(global_step=step),
        str(tmp_path),
        step,
        names=["global_step", "variables/net/bias"],
        options=checkpoint_manager.SaveOptions(
            keep=3, interval_steps=10, is_async=is_async
        ),
    )
    with pytest.raises(
        errors.CheckpointError, match=r"without 1 of 2 .* variables/net/bias"
    ):
        manager.save_now()
    assert manager.saved_step is None
    assert not list(tmp_path.glob("ckpt*"))
    assert not (tmp_path / "checkpoint").exists()


def test_differences_from_the_model_are_named_and_nothing_changes(folder):
    state = _make_state(5)
    state["variables"]["net/conv/kernel"] = tf.Variable(tf.fill([2, 4], 5.0))
    state["variables"]["net/extra"] = tf.Variable(5.0)
    del state["optimizer"]["adam/iterations"]
    with pytest.raises(errors.CheckpointError) as info:
        _restore(folder, state)
    text = str(info.value)
    assert "net/conv/kernel has shape (2, 3)" in text
    assert "net/extra is not in the checkpoint" in text
    assert "adam/iterations is not in the model" in text
    assert {v.numpy().flat[0] for v in tf.nest.flatten(state)} == {5.0}


@pytest.mark.parametrize(
    "name",
    ["", "ckpt-30", "ckpt-30.index", "ckpt-30.data-00000-of-00001"],
)
def test_a_path_may_be_a_folder_a_prefix_or_a_file(folder, name):
    found = checkpoint_files.find_checkpoint(str(folder / name))
    assert pathlib.Path(found).name == "ckpt-30"


@pytest.mark.parametrize("name", ["ckpt-40", "nothing", "ckpt-40.index"])
def test_a_path_without_checkpoint_is_one_sentence(folder, name):
    with pytest.raises(errors.CheckpointError, match="no checkpoint"):
        checkpoint_files.find_checkpoint(str(folder / name))


def test_leftovers_of_a_killed_process_are_deleted(folder):
    leftover = folder / "ckpt-40_temp"
    leftover.mkdir()
    (leftover / "part").write_bytes(b"x")
    others = [
        folder / "ckpt-40.data-00000-of-00001",  # Its index is written last.
        folder / "checkpoint.tmp0123456789abcdef",
    ]
    for file in others:
        file.write_bytes(b"x")
    checkpoint_files.purge_unfinished(str(folder))
    assert not any(path.exists() for path in (leftover, *others))
    assert _restore(folder)[1] == 30


def test_averaged_values_win_over_plain_ones():
    values = {
        "variables/a": np.float32(1),
        "variables/b": np.float32(2),
        "average/a": np.float32(3),
        "optimizer/a": np.float32(4),
    }
    assert checkpoint_files.model_values(values) == {"a": 3.0, "b": 2.0}
