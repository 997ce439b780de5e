# SPDX-License-Identifier: Apache-2.0
"""Reads checkpoints of any layout for the variables of a model.

| layout | keys of the variables |
|---|---|
| `OWN` | `variables/<path>`, averaged ones also `average/<path>` |
| `DEEPLAB2` | `encoder/...`, `semantic_decoder/...`, see `deeplab2_keys` |
| `MODEL_GARDEN` | `backbone/_encoder/...`: deeplab2's encoder alone |
| `KERAS` | files of `keras.applications`: an encoder alone |
| `FOREIGN` | files of torchvision, detectron2 and others: an encoder alone |
"""

import dataclasses
import enum
import re
from collections.abc import Iterable, Mapping, Sequence

import keras
import numpy as np

from deeplab2_like import errors
from deeplab2_like.checkpoints import (
    deeplab2_keys,
    encoder_graphs,
    encoder_weights,
    keras_files,
    object_graph,
)
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints.foreign import reading
from deeplab2_like.model.backbones import graphs
from deeplab2_like.storage import user_paths

_ENCODER = "encoder"
_GARDEN_ENCODER = "backbone/_encoder"
_DEEPLAB2_SYSTEM = "panoptic_deeplab"
_OWN_GROUPS = ("variables/", "average/")
_GROUPS_OF_OPTIMIZERS = ("optimizer/", "backbone_optimizer/", "average/")
_COUNTERS = {"global_step", "save_counter", object_graph.GRAPH_KEY}


class Layout(enum.StrEnum):
    """How a checkpoint names its values."""

    OWN = "deeplab2_like"
    DEEPLAB2 = "deeplab2"
    MODEL_GARDEN = "model_garden"
    KERAS = "keras"
    FOREIGN = "foreign"


@dataclasses.dataclass(frozen=True)
class Source:
    """The values of a checkpoint, by the paths of a model's variables.

    Attributes:
        path: Prefix or file that was read.
        layout: Layout of the checkpoint.
        values: Value of each variable that the checkpoint has.
        impossible: Paths of variables that this layout cannot contain.
        unused: Names in the checkpoint that match no variable of the model.
        bookkeeping: Names of optimizers, averages, counters and the like.
        counters: "global_step" and "save_counter", if present.
    """

    path: str
    layout: Layout
    values: Mapping[str, np.ndarray]
    impossible: Sequence[str] = ()
    unused: Sequence[str] = ()
    bookkeeping: Sequence[str] = ()
    counters: Mapping[str, int] = dataclasses.field(default_factory=dict)


def load_source(path: str, model: keras.Model) -> Source:
    """Loads the values of a checkpoint for a model.

    Args:
        path: A folder, a prefix, one of the files of a checkpoint, a weights
            file of `keras.applications`, or one of `foreign.reading`.
        model: Any model of this package; it is not changed.

    Raises:
        CheckpointError: There is no checkpoint, it is damaged, of another
            kind, or of a layout that cannot hold the model's encoder.
    """
    if checkpoint_files.is_keras_file(path):
        values, unused = keras_files.load_encoder(path, model)
        return Source(path, Layout.KERAS, values, unused=unused)
    if user_paths.is_foreign_file(path):
        arrays = reading.read_arrays(path).values
        values, unused = encoder_weights.map_encoder(
            path, arrays, model.backbone
        )
        return Source(path, Layout.FOREIGN, values, unused=unused)
    prefix = checkpoint_files.find_checkpoint(path)
    graph = checkpoint_files.read_graph(prefix)
    layout = _find_layout(prefix, graph)
    keys = checkpoint_files.list_keys(prefix)
    backbone = getattr(model, "backbone", None)
    impossible: list[str] = []
    offsets: list[str] = []
    if layout is Layout.OWN:
        key_of = _own_keys(keys, model)
        offsets = _find_offsets(keys)
    else:
        encoder_graphs.check_graph(prefix, (graphs.DEFAULT,), backbone)
        key_of, impossible = _object_keys(prefix, graph, layout, model)
    counters = {
        name: key
        for name in ("global_step", "save_counter")
        if (key := graph.key_of(name)) is not None
    }
    values = checkpoint_files.read_values(
        prefix, {*key_of.values(), *counters.values(), *offsets}
    )
    if layout is Layout.OWN and _has_encoder(key_of, model):
        theirs = encoder_graphs.recognize_graph(
            values[offsets[0]] if offsets else None, backbone
        )
        if theirs is not None:
            encoder_graphs.check_graph(prefix, (theirs,), backbone)
    used = set(key_of.values())
    others = [object_graph.readable_name(k) for k in keys if k not in used]
    return Source(
        prefix,
        layout,
        {path: values[key] for path, key in key_of.items()},
        impossible,
        unused=[name for name in others if not _is_bookkeeping(name)],
        bookkeeping=[name for name in others if _is_bookkeeping(name)],
        counters={name: int(values[key]) for name, key in counters.items()},
    )


def matched_variables(model: keras.Model) -> list[keras.Variable]:
    """Lists the variables of checkpoints: all but random generators' states."""
    return [v for v in model.variables if not _is_random_state(v.path)]


def is_encoder_path(path: str) -> bool:
    """Returns whether a variable is the encoder's."""
    return path.split("/")[1:2] == ["backbone"]


def _is_random_state(name: str) -> bool:
    return name.endswith("/seed_generator_state")


def _is_bookkeeping(name: str) -> bool:
    return (
        name in _COUNTERS
        or name.startswith(_GROUPS_OF_OPTIMIZERS)
        or "/.OPTIMIZER_SLOT/" in name
        or "/.ATTRIBUTES/" in name
        or _is_random_state(name)
    )


def _find_layout(prefix: str, graph: object_graph.ObjectGraph) -> Layout:
    parts = graph.children()
    if "variables" in parts:
        return Layout.OWN
    if "_encoder" in graph.children("backbone"):
        return Layout.MODEL_GARDEN
    if _ENCODER in parts:
        return Layout.DEEPLAB2
    raise errors.CheckpointError(
        f"The checkpoint {prefix} is neither of this package nor of deeplab2: "
        f"it holds {', '.join(parts[:8]) or 'nothing'}, and no part called "
        f'"variables", "{_ENCODER}" or "{_GARDEN_ENCODER}".'
    )


def _own_keys(keys: Sequence[str], model: keras.Model) -> dict[str, str]:
    """Returns the key of each variable, of its average if there is one."""
    by_name = {object_graph.readable_name(key): key for key in keys}
    variables = matched_variables(model)
    root = _find_other_root(by_name, variables)
    found = {}
    for group in _OWN_GROUPS:
        for variable in variables:
            path = variable.path
            if root is not None:
                # Another system shares only the encoder.
                if not is_encoder_path(path):
                    continue
                path = f"{root}/{path.partition('/')[2]}"
            if f"{group}{path}" in by_name:
                found[variable.path] = by_name[f"{group}{path}"]
    return found


def _find_offsets(keys: Sequence[str]) -> list[str]:
    """Returns the key of the encoder's normalization of images, if any."""
    pattern = re.compile(r"variables/[^/]+/backbone/normalize/offset")
    names = {key: object_graph.readable_name(key) for key in keys}
    return [key for key, name in names.items() if pattern.fullmatch(name)]


def _has_encoder(key_of: Mapping[str, str], model: keras.Model) -> bool:
    """Returns whether a checkpoint has all layers of an encoder."""
    return all(
        variable.path in key_of
        for variable in matched_variables(model)
        if is_encoder_path(variable.path)
        and "/backbone/normalize/" not in variable.path
    )


def _find_other_root(
    names: Iterable[str], variables: Sequence[keras.Variable]
) -> str | None:
    """Returns the name of the checkpoint's model if it is not that of ours.

    The name of a model, one for each system, is the first part of its
    variables' paths.
    """
    theirs = {
        name.split("/")[1] for name in names if name.startswith(_OWN_GROUPS[0])
    }
    ours = {variable.path.split("/")[0] for variable in variables}
    if len(theirs) != 1 or len(ours) != 1 or theirs == ours:
        return None
    return theirs.pop()


def _object_keys(
    prefix: str,
    graph: object_graph.ObjectGraph,
    layout: Layout,
    model: keras.Model,
) -> tuple[dict[str, str], list[str]]:
    """Returns the key of each variable, and the variables without a key.

    The layout is deeplab2's or the Model Garden's.
    """
    found, impossible = {}, []
    for variable in matched_variables(model):
        path = deeplab2_path(variable.path)
        if path is None:
            impossible.append(variable.path)
            continue
        if layout is Layout.MODEL_GARDEN:
            if not path.startswith(f"{_ENCODER}/"):
                continue
            path = _GARDEN_ENCODER + path.removeprefix(_ENCODER)
        key = graph.key_of(path)
        if key is not None:
            found[variable.path] = key
    encoder = [path for path in impossible if is_encoder_path(path)]
    if encoder:
        raise errors.CheckpointError(
            f"The checkpoint {prefix} is of deeplab2, which has no encoder "
            f"like this model's (it has no place for {encoder[0]}): start "
            "from a checkpoint of this encoder."
        )
    return found, impossible


def deeplab2_path(variable_path: str) -> str | None:
    """Returns the attributes that lead to a variable in deeplab2's objects.

    Args:
        variable_path: `variable.path` of one of our variables.

    Returns:
        Names joined by "/"; None when deeplab2 has no such variable: of other
        systems than Panoptic-DeepLab it has the encoders only.
    """
    is_panoptic_deeplab = variable_path.startswith(f"{_DEEPLAB2_SYSTEM}/")
    if not (is_panoptic_deeplab or is_encoder_path(variable_path)):
        return None
    try:
        key = deeplab2_keys.deeplab2_key(variable_path)
    except KeyError:
        return None
    return key.removesuffix(object_graph.SUFFIX)
