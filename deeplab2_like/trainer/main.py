# SPDX-License-Identifier: Apache-2.0
"""The command line of training and evaluation."""

import os
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import program

MODES = ("train", "eval", "train_and_eval", "continuous_eval")

_CONFIG_FILE = flags.DEFINE_string(
    "config_file",
    None,
    "Config of the run: a file, or the name of a shipped config such as "
    "scenes/panoptic_deeplab_mobilenet_v3_small_os16.",
)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir", None, "Folder of the run: checkpoints, summaries, config."
)
_MODE = flags.DEFINE_enum(
    "mode",
    None,
    MODES,
    "What to do; continuous_eval evaluates each new checkpoint of a folder.",
)
_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text format fragment that is merged over the config; repeated fields "
    "replace. May be given several times.",
)
_MASTER = flags.DEFINE_string(
    "master", "", "Name or address of a TPU; `local` on a TPU VM."
)
_NUM_GPUS = flags.DEFINE_integer(
    "num_gpus", 0, "Number of GPUs to use; -1 for all, 0 for the CPU."
)
_ALLOW_CONFIG_CHANGE = flags.DEFINE_bool(
    "allow_config_change",
    False,
    "Continue in a model folder that another config made.",
)
_REPAIR = flags.DEFINE_bool(
    "repair_checkpoint_state",
    False,
    "Write the damaged or missing file `checkpoint` of the model folder anew "
    "and continue from the newest checkpoint.",
)


def _require_flag(name: str, value: str | None, example: str) -> str:
    if not value:
        raise errors.ConfigError(
            f"--{name} is missing. Give it, for example --{name}={example}."
        )
    return value


def _run(mode: str, arguments: Sequence[str]) -> None:
    if arguments:
        raise errors.ConfigError(
            f"Unexpected argument {arguments[0]!r}: everything is given by "
            "flags, see --help."
        )
    config_file = _require_flag(
        "config_file", _CONFIG_FILE.value, "configs/scenes/....textproto"
    )
    model_dir = _require_flag("model_dir", _MODEL_DIR.value, "runs/first")

    from deeplab2_like import config as config_lib
    from deeplab2_like.trainer import orbit_check

    config = config_lib.load(config_file, _CONFIG_OVERRIDE.value)
    # Nothing that takes long is imported before the user's input is checked.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    orbit_check.require_orbit()
    from deeplab2_like.trainer import run

    run.quiet_tensorflow()

    run.run_experiment(
        config,
        model_dir,
        mode,
        master=_MASTER.value,
        num_gpus=_NUM_GPUS.value,
        allow_config_change=_ALLOW_CONFIG_CHANGE.value,
        repair_checkpoint_state=_REPAIR.value,
    )


def cli() -> None:
    """Trains, or does what --mode says (console command deeplab2-train)."""
    program.run(lambda arguments: _run(_MODE.value or "train", arguments))


def evaluate_cli() -> None:
    """Evaluates a model folder (console command deeplab2-evaluate)."""
    program.run(lambda arguments: _run(_MODE.value or "eval", arguments))
