# SPDX-License-Identifier: Apache-2.0
r"""Converts checkpoints between this package's layout and deeplab2's.

    deeplab2-convert-checkpoint --from=CHECKPOINT --to=FOLDER_OR_PREFIX \
        --config_file=CONFIG [--to_layout=deeplab2]

Reads a checkpoint of this package, of deeplab2, or of an encoder alone (Model
Garden, keras.applications), compares it with the model of the config and
prints what became of each variable. Optimizers are not converted; where a
checkpoint of this package has averaged weights, these are taken.
"""

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import program

if TYPE_CHECKING:
    import keras
    import rich.table

    from deeplab2_like import config as config_lib
    from deeplab2_like.checkpoints import initialization
    from deeplab2_like.checkpoints import source as checkpoint_source
    from deeplab2_like.checkpoints import writing as checkpoint_writing
    from deeplab2_like.meta_architectures import contract

LAYOUTS = ("deeplab2_like", "deeplab2")

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_FROM = flags.DEFINE_string(
    "from",
    None,
    "Checkpoint to read: a folder, a prefix such as run/ckpt-1000, one of its "
    "files, or a weights file of keras.applications (.h5, .keras).",
    flag_values=_FLAGS,
)
_TO = flags.DEFINE_string(
    "to",
    None,
    "Checkpoint to write: a prefix such as converted/ckpt-1000; or a folder "
    "(one that exists, or a name that ends with /), for ckpt-<step> in it.",
    flag_values=_FLAGS,
)
_CONFIG_FILE = flags.DEFINE_string(
    "config_file",
    None,
    "Config of the model, a file or a shipped one's name.",
    flag_values=_FLAGS,
)
_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text format fragment that is merged over the config. May be given "
    "several times.",
    flag_values=_FLAGS,
)
_TO_LAYOUT = flags.DEFINE_enum(
    "to_layout",
    "deeplab2_like",
    LAYOUTS,
    "Layout to write: this package's, or deeplab2's.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace a checkpoint of the same name.",
    flag_values=_FLAGS,
)


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        prefix: Prefix of the checkpoint that was written.
        report: Report on each variable and each value.
        step: The step of the checkpoint.
    """

    prefix: str
    report: "initialization.RestoreReport"
    step: int

    def table(self) -> "rich.table.Table":
        """Returns the report as a table."""
        return self.report.table("Converted from")


def convert(
    config: "config_lib.Config",
    source_path: str,
    target: str,
    *,
    layout: str = "deeplab2_like",
    overwrite: bool = False,
) -> Conversion:
    """Converts a checkpoint.

    Args:
        config: Config of the model. Layers that its
            restore_*_last_layer_from_initial_checkpoint leave out are left
            out only if they do not fit.
        source_path: Checkpoint to read: a folder, a prefix, one of its files,
            or a weights file of `keras.applications`.
        target: Prefix to write, or a folder for `ckpt-<step>`.
        layout: Layout to write, one of `LAYOUTS`.
        overwrite: Whether a checkpoint of the same name is replaced.

    Returns:
        The result. A checkpoint of an encoder alone remains one.

    Raises:
        CheckpointError: The checkpoint cannot be read, does not fit the
            model, or cannot be written.
    """
    from deeplab2_like.checkpoints import files as checkpoint_files
    from deeplab2_like.checkpoints import initialization
    from deeplab2_like.checkpoints import source as checkpoint_source
    from deeplab2_like.checkpoints import writing as checkpoint_writing

    checkpoint_writing.check_target(target, overwrite=overwrite)
    if not checkpoint_files.is_keras_file(source_path):
        source_path = checkpoint_files.find_checkpoint(source_path)
    system, model = _build(config)
    source = checkpoint_source.load_source(source_path, model)
    report = initialization.match_start(
        config.options.model_options,
        system,
        model,
        source,
        skips_fitting=False,
    )
    values = _name_values(source, report.loaded, layout)
    del model
    step = source.counters.get("global_step", 0)
    prefix = checkpoint_writing.resolve_target(target, step)
    checkpoint_writing.write_checkpoint(prefix, values, overwrite=overwrite)
    if prefix != target:
        checkpoint_files.repair_state_file(prefix.rpartition("/")[0])
    return Conversion(prefix, report, step)


def _build(
    config: "config_lib.Config",
) -> "tuple[contract.MetaArchitecture, keras.Model]":
    from deeplab2_like.labels import descriptor
    from deeplab2_like.meta_architectures import build

    options = config.options
    system = build.build_system(options, descriptor.load_of_run(options))
    return system, system.build_model(synchronize_batch_norm=False)


def _name_values(
    source: "checkpoint_source.Source", paths: Sequence[str], layout: str
) -> "checkpoint_writing.Values":
    """Returns the values by the attribute names that lead to them."""
    import numpy as np

    from deeplab2_like.checkpoints import source as checkpoint_source

    values: dict[tuple[str, ...], np.ndarray] = {
        (name,): np.asarray(source.counters.get(name, 0), np.int64)
        for name in ("global_step", "save_counter")
    }
    for path in paths:
        names: tuple[str, ...] = ("variables", path)
        if layout == "deeplab2":
            found = checkpoint_source.deeplab2_path(path)
            if found is None:
                raise errors.CheckpointError(
                    f"{source.path} cannot be written in deeplab2's layout: "
                    f"deeplab2 has no variable like {path}."
                )
            names = tuple(found.split("/"))
        values[names] = source.values[path]
    return values


def _check_flags(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    program.require(_FROM, "a checkpoint", "downloaded/ckpt-60000")
    program.require(_TO, "a prefix", "converted/ckpt-60000")
    program.require(
        _CONFIG_FILE,
        "the config of the model",
        "cityscapes/panoptic_deeplab/mobilenet_v3_small_os32",
    )


def _main(arguments: Sequence[str]) -> None:
    _check_flags(arguments)
    from deeplab2_like import config as config_lib

    config = config_lib.load(_CONFIG_FILE.value, _CONFIG_OVERRIDE.value)
    # Nothing that takes long is imported before the user's input is checked.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from deeplab2_like.console import native_logs, progress

    report = progress.Progress()
    with native_logs.hide_routine():
        done = convert(
            config,
            _FROM.value,
            _TO.value,
            layout=_TO_LAYOUT.value,
            overwrite=_OVERWRITE.value,
        )
    report.console.print(done.table())
    if done.report.bookkeeping:
        report.log(
            f"Not converted: {len(done.report.bookkeeping)} values of "
            "optimizers, averages and counters."
        )
    report.log(f"Wrote {done.prefix} (step {done.step}) in the layout of")
    report.log(f"{_TO_LAYOUT.value}, read back and compared.")


def cli() -> None:
    """Converts a checkpoint (command deeplab2-convert-checkpoint)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
