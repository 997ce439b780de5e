# SPDX-License-Identifier: Apache-2.0
"""Trains by rounds of teacher and student, from one config.

    deeplab2-naive-student --config_file=CONFIG --model_dir=RUN

CONFIG has semi_supervised { method: NAIVE_STUDENT unlabeled_pattern: ... }. A
teacher is trained on the human labels and labels the other images, a student
is trained on both, and so on; docs/semi_supervised.md describes the fields. RUN
gets a folder for each stage: teacher, round_1/labels, round_1/student, ...,
fine_tuned. All but the labels are ordinary runs, for deeplab2-evaluate,
deeplab2-export and deeplab2-predict. The same command again skips stages that
are finished, and continues the one that is not.
"""

from collections.abc import Sequence

from absl import flags

from deeplab2_like import config as config_lib
from deeplab2_like.console import path_flags, program, progress
from deeplab2_like.naive_student import rounds
from deeplab2_like.trainer import run_options

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_CONFIG_FILE = path_flags.define(
    "config_file",
    None,
    "Config of the rounds: a file, or the name of a shipped config. Required.",
    flag_values=_FLAGS,
)
_MODEL_DIR = path_flags.define(
    "model_dir",
    None,
    "Folder of the stages. Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_MODE = flags.DEFINE_enum(
    "mode",
    "train",
    rounds.MODES,
    "Whether each training is evaluated too.",
    flag_values=_FLAGS,
)
_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text format fragment that is merged over the config, for example "
    "'semi_supervised { naive_student { rounds: 2 } }'; repeated fields "
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
    "Number of GPUs to train on; -1 for all, 0 for the CPU.",
    flag_values=_FLAGS,
)
_ALLOW_CONFIG_CHANGE = flags.DEFINE_bool(
    "allow_config_change",
    False,
    "Continue in folders that another config made, and replace labels of "
    "another teacher, if no student has learned from them.",
    flag_values=_FLAGS,
)


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    config_file = program.require(_CONFIG_FILE, "a config", "rounds.textproto")
    model_dir = program.require(_MODEL_DIR, "the folder of the stages", "runs")
    report = progress.Progress()
    rounds.run(
        config_lib.load(config_file, _CONFIG_OVERRIDE.value),
        model_dir,
        _MODE.value,
        run_options.RunOptions(
            master=_MASTER.value,
            num_gpus=_NUM_GPUS.value,
            allow_config_change=_ALLOW_CONFIG_CHANGE.value,
        ),
        report,
    )
    report.log(f"All stages are finished: {model_dir}")


def cli() -> None:
    """Trains by rounds (console command deeplab2-naive-student)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
