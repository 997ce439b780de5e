# SPDX-License-Identifier: Apache-2.0
"""Starting a model from an earlier checkpoint, strictly and with a report."""

import dataclasses
from collections.abc import Mapping

import keras
import numpy as np
import rich.table

from deeplab2_like import checkpoint_files, errors
from deeplab2_like.meta_architectures import contract
from deeplab2_like.model import deeplab2_keys
from deeplab2_like.protos import model_pb2

_LAST_LAYERS = {
    "restore_semantic_last_layer_from_initial_checkpoint": (
        "semantic_last_layer",
    ),
    "restore_instance_last_layer_from_initial_checkpoint": (
        "center_last_layer",
        "offset_last_layer",
    ),
}
_BOOKKEEPING = ("optimizer", "backbone_optimizer", "global_step", "average/")


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """What became of each variable and of each value of a checkpoint.

    Attributes:
        checkpoint: Its prefix.
        loaded: Names of the variables that were restored.
        skipped: Names of those that the config leaves out, with the reason.
        missing: Names of variables that the checkpoint does not have.
        mismatched: Descriptions of variables of another shape.
        unused: Names in the checkpoint that no variable took.
    """

    checkpoint: str
    loaded: list[str]
    skipped: dict[str, str]
    missing: list[str]
    mismatched: dict[str, str]
    unused: list[str]

    def table(self) -> rich.table.Table:
        """Draws the report."""
        table = rich.table.Table(
            title=f"Initial checkpoint {self.checkpoint}", title_justify="left"
        )
        table.add_column("")
        table.add_column("variables", justify="right")
        table.add_column("first of them", overflow="fold")
        for name in ("loaded", "skipped", "missing", "mismatched", "unused"):
            members = list(getattr(self, name))
            table.add_row(name, str(len(members)), ", ".join(members[:2]))
        return table


def initialize(
    options: model_pb2.ModelOptions,
    system: contract.MetaArchitecture,
    model: keras.Model,
) -> RestoreReport:
    """Restores a model from `options.initial_checkpoint`.

    Args:
        options: Names the checkpoint, of this package or of deeplab2, and
            says whether the layers that depend on the classes are restored.
        system: Knows which variables these layers are.
        model: The model that `system` built.

    Raises:
        CheckpointError: There is no such checkpoint, or a variable is missing
            or has another shape; nothing is changed then.
    """
    prefix = checkpoint_files.find_checkpoint(options.initial_checkpoint)
    values = checkpoint_files.read_checkpoint(prefix)
    groups = system.variable_groups(model)
    left_out = {
        variable.path: f"{field} is false"
        for field, names in _LAST_LAYERS.items()
        if not getattr(options, field)
        for name in names
        for variable in groups.get(name, ())
    }
    report, assignments = _match(prefix, values, model, left_out)
    _raise_on_differences(report)
    for variable, value in assignments:
        variable.assign(value)
    return report


def assign_all(
    prefix: str, values: Mapping[str, np.ndarray], model: keras.Model
) -> None:
    """Assigns the values of a run's own checkpoint to its model.

    Raises:
        CheckpointError: A variable is missing or has another shape; nothing
            is changed then.
    """
    own = {f"variables/{name}": value for name, value in values.items()}
    report, assignments = _match(prefix, own, model, {})
    _raise_on_differences(report)
    for variable, value in assignments:
        variable.assign(value)


def restore_all(prefix: str, model: keras.Model) -> int:
    """Restores all of a model from any checkpoint, for inference.

    Takes the averaged weights where a checkpoint of this package has them.
    Only the states of random generators, which inference does not use, may be
    missing.

    Args:
        prefix: Of a checkpoint of this package or of deeplab2.
        model: Any model of this package.

    Returns:
        The step at which the checkpoint was written; 0 when it does not say.

    Raises:
        CheckpointError: The files are damaged, or a variable is missing or has
            another shape; nothing is changed then.
    """
    values = checkpoint_files.read_checkpoint(prefix)
    report, assignments = _match(prefix, values, model, {})
    _raise_on_differences(report)
    for variable, value in assignments:
        variable.assign(value)
    return int(values.get("global_step", 0))


def _match(
    prefix: str,
    values: Mapping[str, np.ndarray],
    model: keras.Model,
    left_out: Mapping[str, str],
) -> tuple[RestoreReport, list[tuple[keras.Variable, np.ndarray]]]:
    """Pairs variables with values."""
    names = _names_in_checkpoint(values, model)
    source = dict(values)
    if any(name.startswith("variables/") for name in values):
        averaged = checkpoint_files.model_values(values)
        source.update({f"variables/{n}": v for n, v in averaged.items()})
    loaded, missing, mismatched, skipped, used = [], [], {}, {}, set()
    assignments = []
    for variable in model.variables:
        path, name = variable.path, names.get(variable.path)
        if name is None:
            continue
        used.add(name)
        if path in left_out:
            skipped[path] = left_out[path]
        elif name not in source:
            missing.append(path)
        elif tuple(source[name].shape) != tuple(variable.shape):
            mismatched[path] = (
                f"{tuple(source[name].shape)} in the checkpoint, "
                f"{tuple(variable.shape)} in the model"
            )
        else:
            loaded.append(path)
            assignments.append((variable, source[name]))
    unused = sorted(
        name
        for name in values
        if name not in used and not name.startswith(_BOOKKEEPING)
    )
    report = RestoreReport(prefix, loaded, skipped, missing, mismatched, unused)
    return report, assignments


def _names_in_checkpoint(
    values: Mapping[str, np.ndarray], model: keras.Model
) -> dict[str, str]:
    """Gives the checkpoint's name of each variable, by its path."""
    is_own = any(name.startswith("variables/") for name in values)
    if is_own:
        return {
            v.path: f"variables/{v.path}"
            for v in model.variables
            if not v.path.endswith("/seed_generator_state")
        }
    by_key = deeplab2_keys.deeplab2_keys(model.variables)
    return {
        variable.path: checkpoint_files.strip_suffix(key)
        for key, variable in by_key.items()
    }


def _raise_on_differences(report: RestoreReport) -> None:
    if not (report.missing or report.mismatched):
        return
    lines = [f"{path}: not in the checkpoint" for path in report.missing]
    lines += [f"{path}: {text}" for path, text in report.mismatched.items()]
    shown = "\n  ".join(lines[:10])
    more = f"\n  and {len(lines) - 10} more" if len(lines) > 10 else ""
    hint = ""
    if report.mismatched and not report.missing:
        hint = (
            " If only the classes differ, set model_options."
            "restore_semantic_last_layer_from_initial_checkpoint to false."
        )
    raise errors.CheckpointError(
        f"{report.checkpoint} does not fit the model:\n  {shown}{more}\nUse "
        f"the config that it was made with.{hint}"
    )
