# SPDX-License-Identifier: Apache-2.0
"""The values of all variables of a model, from a file of another library."""

import re
from collections.abc import Callable, Mapping
from typing import NoReturn

import keras
import numpy as np

from deeplab2_like import errors
from deeplab2_like.checkpoints import encoder_weights
from deeplab2_like.checkpoints import source as checkpoint_source
from deeplab2_like.checkpoints.foreign import layouts
from deeplab2_like.checkpoints.peers import (
    classes,
    panoptic_deeplab,
    panoptic_fpn,
)
from deeplab2_like.checkpoints.peers import state as state_lib
from deeplab2_like.checkpoints.peers.recognition import Peer
from deeplab2_like.labels import descriptor as descriptor_lib

_FIX = "use the config that is written without --config_file, or correct yours"
FindOrigin = Callable[[str], state_lib.Origin | None]


def map_values(
    state: state_lib.State,
    peer: Peer,
    model: keras.Model,
    descriptor: descriptor_lib.DatasetDescriptor,
    *,
    epsilon: float,
) -> tuple[dict[str, np.ndarray], bool]:
    """Maps the values of a whole model to the variables of one of ours.

    Args:
        state: The values of the file.
        peer: Whose model it is.
        model: A model of the system `peer.system`; it is not changed.
        descriptor: The data set of the model.
        epsilon: Epsilon of the batch norms of the model.

    Returns:
        float32 values by the path of every variable but the states of random
        generators; and whether the order of the classes is known, see
        `classes.Order`.

    Raises:
        CheckpointError: The file lacks a value, has one that is not used, or
            has one of another shape.
    """
    find_origin, is_known = _make_finder(state, peer, descriptor)
    values, left = encoder_weights.map_encoder(
        state.path, state.arrays, model.backbone
    )
    used: set[str] = set()
    for variable in checkpoint_source.matched_variables(model):
        path = variable.path
        if checkpoint_source.is_encoder_path(path):
            if path not in values:
                state_lib.refuse(
                    state.path,
                    f"has no value for {path}, which {state.title} has",
                    "give the whole file as it was published or saved",
                )
            continue
        layer, _, name = path.partition("/")[2].rpartition("/")
        origin = find_origin(layer)
        if origin is None:
            values[path] = _identity(state, variable, name, epsilon)
            continue
        torch_name = encoder_weights.TORCH_VARIABLES[name]
        key = f"{origin.key}.{torch_name}"
        used.add(key)
        try:
            value = _convert(origin, torch_name, state.read(key))
        except ValueError as error:
            if isinstance(error, errors.CheckpointError):
                raise
            shape = list(state.read(key).shape)
            state_lib.refuse(
                state.path,
                f"has an array {key} of the shape {shape}, which "
                f"{state.title} does not have",
                _FIX,
            )
        values[path] = value
    _refuse_other_shapes(state, model, values)
    _refuse_unused(state, [key for key in left if key not in used])
    return values, is_known


def _make_finder(
    state: state_lib.State,
    peer: Peer,
    descriptor: descriptor_lib.DatasetDescriptor,
) -> tuple[FindOrigin, bool]:
    """Returns `find_origin` of a peer, and whether its order is known."""
    if peer is Peer.PANOPTIC_DEEPLAB:
        number = panoptic_deeplab.measure(state).num_classes
        order = classes.order_classes(descriptor, number)
        if order is None:
            _refuse_classes(state, descriptor, f"{number} classes")
        found = order.classes
        return (
            lambda layer: panoptic_deeplab.find_origin(layer, found),
            order.is_known,
        )
    sizes = panoptic_fpn.measure(state)
    things, stuff = descriptor.thing_ids, descriptor.stuff_ids
    numbers = (sizes.num_things, sizes.num_channels)
    if numbers != (len(things), 1 + len(stuff)):
        _refuse_classes(
            state,
            descriptor,
            f"{numbers[0]} things and {numbers[1] - 1} other classes",
        )
    known = classes.order_coco(descriptor)
    orders = known or (range(len(things)), range(len(stuff)))
    return (
        lambda layer: panoptic_fpn.find_origin(layer, *orders),
        known is not None,
    )


def _refuse_classes(
    state: state_lib.State,
    descriptor: descriptor_lib.DatasetDescriptor,
    what: str,
) -> NoReturn:
    state_lib.refuse(
        state.path,
        f"has outputs for {what}, and the data set {descriptor.name} has "
        f"{len(descriptor.thing_ids)} things and {len(descriptor.stuff_ids)} "
        "other classes",
        "name a config for its data set with --config_file",
    )


def _identity(
    state: state_lib.State,
    variable: keras.Variable,
    name: str,
    epsilon: float,
) -> np.ndarray:
    """Returns the value of a variable of a batch norm that changes nothing.

    Raises:
        CheckpointError: The variable is of another layer.
    """
    values = {
        "gamma": 1.0,
        "beta": 0.0,
        "moving_mean": 0.0,
        "moving_variance": 1.0 - epsilon,
    }
    if name not in values:
        state_lib.refuse(
            state.path,
            f"has no part like {variable.path}, which the config has",
            _FIX,
        )
    return np.full(tuple(variable.shape), values[name], np.float32)


def _convert(
    origin: state_lib.Origin, name: str, value: np.ndarray
) -> np.ndarray:
    """Returns a value in our layout and order."""
    value = np.asarray(value).astype(np.float32)
    if name == "weight" and origin.spread is not None:
        value = origin.spread(value)
    if origin.arrange is not None:
        value = origin.arrange(value)
    return layouts.to_tensorflow(origin.kind, name, value)[1]


def _refuse_other_shapes(
    state: state_lib.State,
    model: keras.Model,
    values: Mapping[str, np.ndarray],
) -> None:
    for variable in checkpoint_source.matched_variables(model):
        theirs = values[variable.path].shape
        if theirs != tuple(variable.shape):
            state_lib.refuse(
                state.path,
                f"does not fit the config: {variable.path} has the shape "
                f"{list(theirs)} in the file and {list(variable.shape)} in the "
                "model",
                _FIX,
            )


def _refuse_unused(state: state_lib.State, left: list[str]) -> None:
    unused = [
        key
        for key in left
        if not re.fullmatch(panoptic_fpn.IGNORED, key)
        and not key.endswith(layouts.STEP_COUNTER)
    ]
    if unused:
        more = f" and {len(unused) - 1} more" if len(unused) > 1 else ""
        state_lib.refuse(
            state.path,
            f"has {unused[0]}{more}, which {state.title} does not have",
            "it is of another model, which is not converted",
        )
