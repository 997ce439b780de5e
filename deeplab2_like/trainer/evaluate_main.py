# SPDX-License-Identifier: Apache-2.0
"""Evaluates a training run on the images of its config.

    deeplab2-evaluate --model_dir=RUN [--config_file=CONFIG]

RUN is the folder of a run, or one into which `deeplab2-convert-checkpoint`
wrote. PQ, mIoU and AP of the newest checkpoint are printed, and written to
RUN/eval, with --report also as a page, RUN/eval/report.html. With --continuous
each new checkpoint is evaluated while another process trains. With --tune the
thresholds of post-processing are chosen on the images, and the config with them
is written to RUN/tuned.textproto. RUN/best, where training keeps its best
checkpoint, is a RUN too.
"""

from collections.abc import Sequence

from absl import flags

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.config import run_config
from deeplab2_like.console import path_flags, program
from deeplab2_like.trainer import run_options, runs

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_MODEL_DIR = path_flags.define(
    "model_dir",
    None,
    "Folder of the run: checkpoints, summaries, config. Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_CONFIG_FILE = path_flags.define(
    "config_file",
    None,
    "Config, a file or a shipped one's name; that of --model_dir when not "
    "given.",
    flag_values=_FLAGS,
)
_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text format fragment that is merged over the config, for example "
    "'evaluator_options { eval_scales: [0.5, 1] }'; repeated fields replace. "
    "May be given several times.",
    flag_values=_FLAGS,
)
_CONTINUOUS = flags.DEFINE_bool(
    "continuous",
    False,
    "Evaluate each new checkpoint, until that of the last step.",
    flag_values=_FLAGS,
)
_TUNE = flags.DEFINE_bool(
    "tune",
    False,
    "Choose the thresholds of post-processing that give the highest PQ on the "
    "images of the config.",
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
_REPORT = flags.DEFINE_bool(
    "report",
    False,
    "Write a page with all numbers and the worst images, eval/report.html in "
    "--model_dir.",
    flag_values=_FLAGS,
)
_COMPARE_WITH = path_flags.define(
    "compare_with",
    None,
    "Folder of another run, whose last evaluation the report is to compare "
    "with. Implies --report.",
    flag_values=_FLAGS,
)
# Flags without a text are kept for old command lines, and not shown.
_MODE = flags.DEFINE_enum(
    "mode", None, run_options.MODES, "", flag_values=_FLAGS
)
_REPAIR = flags.DEFINE_bool(
    "repair_checkpoint_state", False, "", flag_values=_FLAGS
)
flags.DEFINE_bool("allow_config_change", False, "", flag_values=_FLAGS)


def _choose_mode() -> str:
    if _MODE.value in run_options.TRAINING_MODES:
        raise errors.ConfigError(
            f"--mode={_MODE.value} trains: use deeplab2-train."
        )
    is_continuous = _CONTINUOUS.value or _MODE.value == "continuous_eval"
    if not _TUNE.value:
        return "continuous_eval" if is_continuous else "eval"
    if is_continuous:
        raise errors.ConfigError(
            "--tune chooses values for one checkpoint: leave out --continuous."
        )
    return run_options.TUNE


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    model_dir = program.require(_MODEL_DIR, "the folder of the run", "runs/1")
    mode = _choose_mode()
    if _CONFIG_FILE.value:
        config = config_lib.load(_CONFIG_FILE.value, _CONFIG_OVERRIDE.value)
    else:
        config = run_config.load_checked(model_dir, _CONFIG_OVERRIDE.value)
    options = run_options.RunOptions(
        master=_MASTER.value,
        num_gpus=_NUM_GPUS.value,
        repair_checkpoint_state=_REPAIR.value,
        report=_REPORT.value or bool(_COMPARE_WITH.value),
        compare_with=_COMPARE_WITH.value or "",
    )
    runs.run(config, model_dir, mode, options)


def cli() -> None:
    """Evaluates a model folder (console command deeplab2-evaluate)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
