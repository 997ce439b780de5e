# SPDX-License-Identifier: Apache-2.0
"""Initializes models from checkpoints, strictly and with a report."""

import collections
import dataclasses
from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np
import rich.table

from deeplab2_like import errors
from deeplab2_like.checkpoints import imagenet
from deeplab2_like.checkpoints import source as checkpoint_source
from deeplab2_like.meta_architectures import contract
from deeplab2_like.protos import model_pb2

_LAST_LAYERS = {
    "restore_semantic_last_layer_from_initial_checkpoint": (
        "semantic_last_layer",
    ),
    "restore_instance_last_layer_from_initial_checkpoint": (
        "center_last_layer",
        "offset_last_layer",
        "instance_last_layer",
    ),
}
_ENCODER_ONLY = "the checkpoint has only an encoder for this model"


@dataclasses.dataclass(frozen=True)
class RestoreReport:
    """Report on each variable of a model and each value of a checkpoint.

    Attributes:
        checkpoint: Prefix of the checkpoint, or the weights file.
        loaded: Names of the variables that are restored.
        skipped: Reason for each variable that keeps its initial value, by
            name.
        missing: Names of variables that the checkpoint does not have.
        mismatched: Both shapes of each variable of another shape, by name.
        unused: Names in the checkpoint that no variable took.
        bookkeeping: Names in the checkpoint that belong to no model:
            optimizers, averages, counters.
    """

    checkpoint: str
    loaded: list[str]
    skipped: dict[str, str]
    missing: list[str]
    mismatched: dict[str, str]
    unused: list[str]
    bookkeeping: list[str] = dataclasses.field(default_factory=list)

    def table(self, title: str = "Initial checkpoint") -> rich.table.Table:
        """Returns the report as a table."""
        table = rich.table.Table(
            title=f"{title} {self.checkpoint}", title_justify="left"
        )
        table.add_column("")
        table.add_column("variables", justify="right")
        table.add_column("first of them", overflow="fold")
        rows = [("loaded", self.loaded)]
        by_reason = collections.defaultdict(list)
        for name, reason in self.skipped.items():
            by_reason[f"skipped: {reason}"].append(name)
        rows += by_reason.items() or [("skipped", [])]
        rows += [
            ("missing", self.missing),
            ("mismatched", list(self.mismatched)),
            ("unused", self.unused),
        ]
        for name, members in rows:
            table.add_row(name, str(len(members)), ", ".join(members[:2]))
        return table


def initialize(
    options: model_pb2.ModelOptions,
    system: contract.MetaArchitecture,
    model: keras.Model,
) -> RestoreReport:
    """Restores a model from `options.initial_checkpoint`.

    A checkpoint may contain only an encoder, as those that were trained on
    ImageNet do; the rest of the model then keeps its initial values.

    Args:
        options: Options with the path of the checkpoint, of this package or
            of deeplab2, or of a weights file of another library, or the word
            "imagenet", and with whether the layers that depend on the classes
            are restored.
        system: System of the model; its `variable_groups` list these layers.
        model: The model that `system` built.

    Raises:
        CheckpointError: There is no such checkpoint, or a variable is missing
            or has another shape; nothing is changed then.
    """
    path = imagenet.resolve(
        options.initial_checkpoint,
        options.backbone.name,
        options.backbone.graph,
    )
    source = checkpoint_source.load_source(path, model)
    report = match_start(options, system, model, source)
    _assign(source, report, model)
    return report


def match_start(
    options: model_pb2.ModelOptions,
    system: contract.MetaArchitecture,
    model: keras.Model,
    source: checkpoint_source.Source,
    *,
    skips_fitting: bool = True,
) -> RestoreReport:
    """Reports what `initialize` restores from `source`; changes nothing.

    Args:
        options: As in `initialize`.
        system: As in `initialize`.
        model: As in `initialize`.
        source: Values of a checkpoint for `model`.
        skips_fitting: Whether layers that the options leave out are left out
            even where their shapes fit.

    Raises:
        CheckpointError: A variable is missing or has another shape.
    """
    groups = system.variable_groups(model)
    fields = {
        variable.path: field
        for field, names in _LAST_LAYERS.items()
        for name in names
        for variable in groups.get(name, ())
    }
    left_out = {
        path: f"{field} is false"
        for path, field in fields.items()
        if not getattr(options, field)
    }
    encoder = {variable.path for variable in groups["backbone"]}
    report = _match(source, model, left_out, encoder, skips_fitting)
    _raise_on_differences(report, encoder, fields)
    return report


def match_all(
    source: checkpoint_source.Source, model: keras.Model
) -> RestoreReport:
    """Reports the restoring of a whole model from `source`; changes nothing.

    Raises:
        CheckpointError: A variable is missing or has another shape.
    """
    report = _match(source, model, {}, None, True)
    encoder = {
        v.path
        for v in checkpoint_source.matched_variables(model)
        if checkpoint_source.is_encoder_path(v.path)
    }
    _raise_on_differences(report, encoder, {})
    return report


def assign_all(
    prefix: str, values: Mapping[str, np.ndarray], model: keras.Model
) -> None:
    """Assigns the values of a run's own checkpoint to its model.

    Raises:
        CheckpointError: A variable is missing or has another shape; nothing
            is changed then.
    """
    source = checkpoint_source.Source(
        prefix, checkpoint_source.Layout.OWN, values
    )
    _assign(source, match_all(source, model), model)


def restore_all(prefix: str, model: keras.Model) -> int:
    """Restores all of a model from any checkpoint, for inference.

    The averaged weights are taken where a checkpoint of this package has them.
    Only the states of random generators, which inference does not use, may be
    missing.

    Args:
        prefix: Prefix of a checkpoint of this package or of deeplab2.
        model: Any model of this package.

    Returns:
        The step at which the checkpoint was written; 0 when not known.

    Raises:
        CheckpointError: The files are damaged, or a variable is missing or has
            another shape; nothing is changed then.
    """
    source = checkpoint_source.load_source(prefix, model)
    _assign(source, match_all(source, model), model)
    return source.counters.get("global_step", 0)


def _assign(
    source: checkpoint_source.Source,
    report: RestoreReport,
    model: keras.Model,
) -> None:
    variables = {variable.path: variable for variable in model.variables}
    for path in report.loaded:
        variables[path].assign(source.values[path])


def _match(
    source: checkpoint_source.Source,
    model: keras.Model,
    left_out: Mapping[str, str],
    encoder: Collection[str] | None,
    skips_fitting: bool,
) -> RestoreReport:
    """Pairs variables with values.

    Args:
        source: Values to restore.
        model: Model with the variables.
        left_out: Reason for each variable that keeps its value, by path.
        encoder: Paths of the encoder's variables, which may be all that the
            checkpoint has; None when all variables are needed.
        skips_fitting: As in `match_start`.
    """
    report = RestoreReport(
        source.path,
        loaded=[],
        skipped={},
        missing=[],
        mismatched={},
        unused=list(source.unused),
        bookkeeping=list(source.bookkeeping),
    )
    is_encoder = bool(source.values) and encoder is not None
    is_encoder = is_encoder and set(source.values) <= set(encoder or ())
    impossible = set(source.impossible) if encoder is not None else set()
    for variable in checkpoint_source.matched_variables(model):
        path, value = variable.path, source.values.get(variable.path)
        fits = value is not None and value.shape == tuple(variable.shape)
        difference = ""
        if value is not None and not fits:
            difference = (
                f"{value.shape} in the checkpoint, "
                f"{tuple(variable.shape)} in the model"
            )
        if path in left_out and (skips_fitting or not fits):
            reason = left_out[path]
            report.skipped[path] = (
                f"{reason} ({difference})" if difference else reason
            )
        elif path in impossible:
            report.skipped[path] = "not a part of deeplab2's checkpoints"
        elif difference:
            report.mismatched[path] = difference
        elif fits:
            report.loaded.append(path)
        elif is_encoder and path not in (encoder or ()):
            report.skipped[path] = _ENCODER_ONLY
        else:
            report.missing.append(path)
    return report


def _raise_on_differences(
    report: RestoreReport,
    encoder: Collection[str],
    fields: Mapping[str, str],
) -> None:
    """Raises if a variable is missing or has another shape.

    Args:
        report: Result of `_match`.
        encoder: Paths of the encoder's variables.
        fields: Field of the config that leaves out a variable, by the path of
            each variable that depends on the classes.
    """
    if not (report.missing or report.mismatched):
        return
    lines = [f"{path}: not in the checkpoint" for path in report.missing]
    lines += [f"{path}: {text}" for path, text in report.mismatched.items()]
    shown = "\n  ".join(lines[:10])
    more = f"\n  and {len(lines) - 10} more" if len(lines) > 10 else ""
    raise errors.CheckpointError(
        f"{report.checkpoint} does not fit the model:\n  {shown}{more}\n"
        f"{_describe_fix(report, encoder, fields)}"
    )


def _describe_fix(
    report: RestoreReport,
    encoder: Collection[str],
    fields: Mapping[str, str],
) -> str:
    is_encoder = set(report.loaded) == set(encoder) != set()
    if is_encoder and not report.mismatched:
        return (
            "It has only an encoder for this model: train from it "
            "(model_options.initial_checkpoint)."
        )
    concerned: Sequence[str] = sorted(
        {fields.get(path, "") for path in report.mismatched}
    )
    if report.mismatched and all(concerned) and not report.missing:
        settings = " and ".join(
            f"model_options.{field}: false" for field in concerned
        )
        return (
            "Use the config that it was made with, or start these layers "
            f"anew with {settings}."
        )
    return "Use the config that it was made with."
