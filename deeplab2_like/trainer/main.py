# SPDX-License-Identifier: Apache-2.0
"""Trains a model.

    deeplab2-train --config_file=CONFIG --model_dir=RUN

CONFIG is a file, or the name of a shipped config as `deeplab2-check-config
--list` prints them. RUN is the folder of the run: checkpoints, summaries for
TensorBoard, the config. The same command again continues from the newest
checkpoint. With --mode=train_and_eval the model is evaluated as it is trained;
`deeplab2-evaluate` evaluates a run.

    deeplab2-train --config_file=CONFIG --preview=8 --out=FOLDER

draws 8 crops as the network will see them, with their labels and targets, and
trains nothing.
"""

from collections.abc import Sequence

from absl import flags

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.console import path_flags, program
from deeplab2_like.storage import any_files
from deeplab2_like.trainer import run_options, runs, slurm
from deeplab2_like.trainer.ledger import events

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_CONFIG_FILE = path_flags.define(
    "config_file",
    None,
    "Config of the run: a file, or the name of a shipped config such as "
    "scenes/panoptic_deeplab_mobilenet_v3_small_os16. Required.",
    flag_values=_FLAGS,
)
_MODEL_DIR = path_flags.define(
    "model_dir",
    None,
    "Folder of the run: checkpoints, summaries, config. Required, except with "
    "--preview and --out.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    run_options.MODES,
    "What to do; eval and continuous_eval are those of deeplab2-evaluate.",
    flag_values=_FLAGS,
)
_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text format fragment that is merged over the config, for example "
    "'trainer_options { seed: 1 }'; repeated fields replace. May be given "
    "several times.",
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
_PROFILE_STEPS = flags.DEFINE_string(
    "profile_steps",
    "",
    "START:END: write a trace of TensorFlow's profiler of the steps after "
    "START up to END, into MODEL_DIR/train.",
    flag_values=_FLAGS,
)
_USE_SLURM = flags.DEFINE_bool(
    "use_slurm",
    True,
    "Whether the tasks of a step of SLURM's srun train one model together, "
    "unless TF_CONFIG is set.",
    flag_values=_FLAGS,
)
_PREVIEW = flags.DEFINE_integer(
    "preview",
    0,
    "Number of training crops to draw instead of training.",
    lower_bound=0,
    flag_values=_FLAGS,
)
_OUT = path_flags.define(
    "out",
    None,
    "Folder of the pictures of --preview. The default is MODEL_DIR/preview.",
    flag_values=_FLAGS,
)


def _preview(config: config_lib.Config) -> None:
    """Draws crops; needs no model folder where there is --out."""
    from deeplab2_like.trainer import preview

    if _MODE.value not in run_options.TRAINING_MODES:
        raise errors.ConfigError(
            f"--preview shows crops of the training, not of --mode="
            f"{_MODE.value}. Remove one of the two."
        )
    folder = _OUT.value
    if folder is None:
        model_dir = program.require(
            _MODEL_DIR, "the folder of the run", "runs/1"
        )
        folder = any_files.join(model_dir, preview.FOLDER)
    written = preview.preview(config, folder, _PREVIEW.value)
    print(f"Crops drawn: {len(written) - 1}. All of them small: {written[-1]}")


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    config_file = program.require(
        _CONFIG_FILE, "a config", "configs/scenes/....textproto"
    )
    if _PREVIEW.value:
        _preview(config_lib.load(config_file, _CONFIG_OVERRIDE.value))
        return
    if _OUT.value is not None:
        raise errors.ConfigError(
            "--out is the folder of the pictures of --preview. Add --preview=8,"
            " or give the folder of the run with --model_dir."
        )
    model_dir = program.require(_MODEL_DIR, "the folder of the run", "runs/1")
    config = config_lib.load(config_file, _CONFIG_OVERRIDE.value)
    if _USE_SLURM.value and not _MASTER.value:
        slurm.set_cluster()
    options = run_options.RunOptions(
        master=_MASTER.value,
        num_gpus=_NUM_GPUS.value,
        allow_config_change=_ALLOW_CONFIG_CHANGE.value,
        repair_checkpoint_state=_REPAIR.value,
        profile_steps=_PROFILE_STEPS.value,
        began=events.find_process_start(),
    )
    runs.run(config, model_dir, _MODE.value, options)


def cli() -> None:
    """Trains, or runs the given --mode (console command deeplab2-train)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
