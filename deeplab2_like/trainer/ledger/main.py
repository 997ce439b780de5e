# SPDX-License-Identifier: Apache-2.0
"""Shows what a training run spent its time on, over all its starts.

    deeplab2-ledger MODEL_DIR [--json] [--peak_tflops=197]

MODEL_DIR is the folder of a run, which may be running. Each second of its wall
time is in one row: steps that were kept, or a cause of lost time. With
--peak_tflops, the largest number of operations a second of one device by its
data sheet (bfloat16: 197 of a TPU v5e, 989 of an H100), the model flops
utilisation is added.
"""

from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.config import run_config
from deeplab2_like.console import native_logs, program
from deeplab2_like.storage import json_files, user_paths
from deeplab2_like.trainer.ledger import reading, sums, table

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_JSON = flags.DEFINE_bool(
    "json", False, "Print JSON in place of a table.", flag_values=_FLAGS
)
_PEAK_TFLOPS = flags.DEFINE_float(
    "peak_tflops",
    None,
    "Largest number of operations a second of one device, in 10^12.",
    lower_bound=1e-6,
    flag_values=_FLAGS,
)


def _count_multiply_adds(model_dir: str) -> int:
    """Counts the multiply-adds of one training crop."""
    config = run_config.load_checked(model_dir)
    native_logs.load_tensorflow()
    from deeplab2_like.labels import descriptor
    from deeplab2_like.meta_architectures import build
    from deeplab2_like.model import complexity

    options = config.options
    crop = options.train_dataset_options.crop_size
    system = build.build_system(options, descriptor.load_of_run(options))
    try:
        found = complexity.compute_complexity(
            lambda: system.build_model(synchronize_batch_norm=False),
            (crop[0], crop[-1]),
        )
    except ValueError as error:
        raise errors.ConfigError(
            f"The multiply-adds of this model cannot be counted ({error}): "
            "leave out --peak_tflops."
        ) from error
    return found.multiply_adds


def _main(arguments: Sequence[str]) -> None:
    if len(arguments) != 1:
        raise errors.ConfigError(
            f"Give one folder of a run, not {len(arguments)}, for example "
            "deeplab2-ledger runs/1."
        )
    model_dir = user_paths.expand_checkpoint(arguments[0], "MODEL_DIR ")
    found = sums.sum_up(reading.read_run(model_dir))
    utilisation = None
    if _PEAK_TFLOPS.value is not None:
        utilisation = table.compute_utilisation(
            found, _count_multiply_adds(model_dir), _PEAK_TFLOPS.value
        )
    if _JSON.value:
        print(json_files.to_text(table.to_values(found, utilisation)), end="")
    else:
        print(table.to_text(found, utilisation))


def cli() -> None:
    """Shows where the time of a run went (console command deeplab2-ledger)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
