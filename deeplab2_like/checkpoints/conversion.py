# SPDX-License-Identifier: Apache-2.0
"""Conversion of checkpoints between this package's layout and deeplab2's."""

import dataclasses
from collections.abc import Sequence

import keras
import numpy as np
import rich.table

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.checkpoints import source as checkpoint_source
from deeplab2_like.checkpoints import writing as checkpoint_writing
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.meta_architectures import build, contract
from deeplab2_like.storage import user_paths


@dataclasses.dataclass(frozen=True)
class Conversion:
    """The result of a conversion.

    Attributes:
        prefix: Prefix of the checkpoint that was written.
        report: Report on each variable and each value.
        step: The step of the checkpoint.
    """

    prefix: str
    report: initialization.RestoreReport
    step: int

    def table(self) -> rich.table.Table:
        """Returns the report as a table."""
        return self.report.table("Converted from")


def convert(
    config: config_lib.Config,
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
        layout: Layout to write, one of `config.names.CHECKPOINT_LAYOUTS`.
        overwrite: Whether a checkpoint of the same name is replaced.

    Returns:
        The result. A checkpoint of an encoder alone remains one.

    Raises:
        CheckpointError: The checkpoint cannot be read, does not fit the
            model, or cannot be written.
    """
    checkpoint_writing.check_target(target, overwrite=overwrite)
    if not (
        user_paths.is_keras_file(source_path)
        or user_paths.is_foreign_file(source_path)
    ):
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
    config: config_lib.Config,
) -> tuple[contract.MetaArchitecture, keras.Model]:

    options = config.options
    system = build.build_system(options, descriptor_lib.load_of_run(options))
    return system, system.build_model(synchronize_batch_norm=False)


def _name_values(
    source: checkpoint_source.Source, paths: Sequence[str], layout: str
) -> checkpoint_writing.Values:
    """Returns the values by the attribute names that lead to them."""
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
