# SPDX-License-Identifier: Apache-2.0
"""Trains and evaluates models.

    deeplab2-train --config_file=CONFIG --model_dir=RUN
    deeplab2-evaluate --config_file=CONFIG --model_dir=RUN

RUN is the folder of the run.
"""

from collections.abc import Sequence

from absl import flags

from deeplab2_like import config as config_lib
from deeplab2_like.console import program
from deeplab2_like.trainer import run_options, runs

MODES = ("train", "eval", "train_and_eval", "continuous_eval")

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_CONFIG_FILE = flags.DEFINE_string(
    "config_file",
    None,
    "Config of the run: a file, or the name of a shipped config such as "
    "scenes/panoptic_deeplab_mobilenet_v3_small_os16.",
    flag_values=_FLAGS,
)
_MODEL_DIR = flags.DEFINE_string(
    "model_dir",
    None,
    "Folder of the run: checkpoints, summaries, config.",
    flag_values=_FLAGS,
)
_MODE = flags.DEFINE_enum(
    "mode",
    None,
    MODES,
    "What to do; continuous_eval evaluates each new checkpoint of a folder.",
    flag_values=_FLAGS,
)
_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text format fragment that is merged over the config; repeated fields "
    "replace. May be given several times.",
    flag_values=_FLAGS,
)
_MASTER = flags.DEFINE_string(
    "master",
    "",
    "Name or address of a TPU; `local` on a TPU VM.",
    flag_values=_FLAGS,
)
_NUM_GPUS = flags.DEFINE_integer(
    "num_gpus",
    0,
    "Number of GPUs to use; -1 for all, 0 for the CPU.",
    flag_values=_FLAGS,
)
_ALLOW_CONFIG_CHANGE = flags.DEFINE_bool(
    "allow_config_change",
    False,
    "Continue in a model folder that another config made.",
    flag_values=_FLAGS,
)
_REPAIR = flags.DEFINE_bool(
    "repair_checkpoint_state",
    False,
    "Write the damaged or missing file `checkpoint` of the model folder anew "
    "and continue from the newest checkpoint.",
    flag_values=_FLAGS,
)


def _run(mode: str, arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    config_file = program.require(
        _CONFIG_FILE, "a config", "configs/scenes/....textproto"
    )
    model_dir = program.require(_MODEL_DIR, "the folder of the run", "runs/1")
    config = config_lib.load(config_file, _CONFIG_OVERRIDE.value)
    options = run_options.RunOptions(
        master=_MASTER.value,
        num_gpus=_NUM_GPUS.value,
        allow_config_change=_ALLOW_CONFIG_CHANGE.value,
        repair_checkpoint_state=_REPAIR.value,
    )
    if mode == "eval":
        runs.evaluate(model_dir, config, options=options)
    elif mode == "continuous_eval":
        runs.evaluate_continuously(model_dir, config, options=options)
    else:
        runs.train(
            config,
            model_dir,
            evaluate=mode == "train_and_eval",
            options=options,
        )


def cli() -> None:
    """Trains, or runs the given --mode (console command deeplab2-train)."""
    program.run(
        lambda arguments: _run(_MODE.value or "train", arguments), _FLAGS
    )


def evaluate_cli() -> None:
    """Evaluates a model folder (console command deeplab2-evaluate)."""
    program.run(
        lambda arguments: _run(_MODE.value or "eval", arguments), _FLAGS
    )


if __name__ == "__main__":
    cli()
