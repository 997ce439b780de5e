# SPDX-License-Identifier: Apache-2.0
"""What was converted is trained from, evaluated and exported."""

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints import conversion
from deeplab2_like.exports import saved_model
from deeplab2_like.trainer import run


def _run(config_file, model_dir, mode, *overrides):
    loaded = config_lib.load(str(config_file), overrides)
    return run.run_experiment(loaded, str(model_dir), mode).get("summaries")


def _read_model(prefix):
    reader = tf.train.load_checkpoint(prefix)
    names = reader.get_variable_to_shape_map()
    return {
        name: reader.get_tensor(name)
        for name in names
        if name.startswith("variables/")
    }


def _check_a_start_from(prefix, config_file, tmp_path):
    """Trains from a checkpoint with steps that change next to nothing."""
    override = (
        f"model_options {{ initial_checkpoint: '{prefix}' }} "
        "trainer_options { solver_options { base_learning_rate: 1e-30 "
        "batchnorm_momentum: 0.9999999 } }"
    )
    _run(config_file, tmp_path / "more", "train", override)
    start, end = (
        _read_model(tf.train.latest_checkpoint(str(tmp_path / name)))
        for name in ("run", "more")
    )
    assert start.keys() == end.keys()
    assert len(start) > 100
    for name, value in start.items():
        np.testing.assert_allclose(
            end[name], value, rtol=1e-4, atol=1e-4, err_msg=name
        )


@pytest.mark.slow
def test_the_programs_take_what_was_converted(config_file, tmp_path):
    folder = tmp_path / "run"
    _run(config_file, folder, "train")
    expected = _run(config_file, folder, "eval")
    config = config_lib.load(str(config_file))
    theirs = conversion.convert(
        config, str(folder), f"{tmp_path}/theirs/", layout="deeplab2"
    )
    ours = conversion.convert(config, theirs.prefix, f"{tmp_path}/ours/")
    assert _run(config_file, tmp_path / "ours", "eval") == expected
    _check_a_start_from(theirs.prefix, config_file, tmp_path)
    for checkpoint in (ours.prefix, theirs.prefix):
        out = tmp_path / "saved"
        saved_model.export(
            None,
            str(out),
            saved_model.ExportOptions(writes_warmup=False, overwrite=True),
            config=config,
            checkpoint=checkpoint,
        )
        assert (out / "saved_model.pb").exists()


@pytest.mark.slow
def test_an_efficientnet_trains_and_is_exported(config_file, tmp_path):
    override = (
        "model_options { backbone { name: 'efficientnet_b0' "
        "use_squeeze_and_excite: true drop_path_keep_prob: 0.8 "
        "drop_path_schedule: 'linear' } }"
    )
    _run(config_file, tmp_path / "run", "train", override)
    out = tmp_path / "saved"
    saved_model.export(str(tmp_path / "run"), str(out))
    assert (out / "saved_model.pb").exists()
