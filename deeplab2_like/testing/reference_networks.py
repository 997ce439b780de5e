# SPDX-License-Identifier: Apache-2.0
"""Golden data of whole networks: their configs, keys and filled weights.

The golden folder contains the configs that deeplab2 ships, the keys in the
checkpoints of these networks, and the rule by which their values are made
(`make_reference_checkpoint.py`), so that both sides compute with the same
weights.
"""

import functools
import importlib.util
import json
import re
import types
from collections.abc import Mapping
from typing import Any

import keras
from google.protobuf.message import Message

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import deeplab2_keys
from deeplab2_like.model import build as model_build
from deeplab2_like.model.build_backbone import build_backbone
from deeplab2_like.protos import config_pb2
from deeplab2_like.testing import reference

# Keys in a checkpoint besides the variables of the network.
BOOKKEEPING = frozenset(
    {
        "global_step/.ATTRIBUTES/VARIABLE_VALUE",
        "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
        "_CHECKPOINTABLE_OBJECT_GRAPH",
    }
)


def load_description(name: str) -> dict[str, Any]:
    """Loads the keys of a network's checkpoint.

    Args:
        name: Name of the network, such as "cityscapes__resnet50_os32".
    """
    return _load_json(f"deeplab2_checkpoints/{name}.json")


def _load_json(relative: str) -> dict[str, Any]:
    path = reference.find_support_file(relative)
    return json.loads(path.read_text(encoding="utf-8"))


@functools.cache
def load_maker() -> types.ModuleType:
    """Loads the program that makes checkpoints: `fill`, `write`, `check`."""
    path = reference.find_support_file("make_reference_checkpoint.py")
    spec = importlib.util.spec_from_file_location("reference_maker", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def make_options(config_path: str) -> config_pb2.ExperimentOptions:
    """Makes the options of a config that deeplab2 ships, from golden data.

    Args:
        config_path: Its path in deeplab2, such as
            "configs/cityscapes/panoptic_deeplab/resnet50_os32.textproto".
    """
    facts = _load_json("deeplab2_configs.json")
    name = config_path.removeprefix("configs/").removesuffix(".textproto")
    options = config_pb2.ExperimentOptions()
    for path, value in (facts["common"] | facts["configs"][name]).items():
        _set_field(options, path, value)
    return options


def make_config(config_path: str) -> config_lib.Config:
    """Makes a `Config` from `make_options`, without checks."""
    options = make_options(config_path)
    return config_lib.Config(options, config_path, sha256="", text="")


def _set_field(message: Message, path: str, value: Any) -> None:
    """Sets a field by its dotted path, such as `low_level[1].feature_key`."""
    *parents, last = path.split(".")
    node: Any = message
    for parent in parents:
        name, _, index = parent.rstrip("]").partition("[")
        node = getattr(node, name)
        if index:
            while len(node) <= int(index):
                node.add()
            node = node[int(index)]
    if isinstance(value, list):
        getattr(node, last).extend(value)
    else:
        setattr(node, last, value)


def build_network(
    config_path: str, crop_size: tuple[int, int] | None = None
) -> keras.Model:
    """Builds the network of a config that deeplab2 ships.

    Args:
        config_path: See `make_options`.
        crop_size: (height, width) of the training crop in pixels; that of the
            config if None.

    Raises:
        ConfigError: Its backbone does not exist.
    """
    options = make_options(config_path)
    model = options.model_options
    return model_build.build_model(
        model,
        options.trainer_options.solver_options,
        num_classes=model.panoptic_deeplab.semantic_head.output_channels,
        train_crop_size=crop_size or options.train_dataset_options.crop_size,
        synchronize_batch_norm=False,
    )


def find_missing_backbone(config_path: str) -> str | None:
    """Returns why a network cannot be built; None if it can be."""
    try:
        build_backbone(make_options(config_path).model_options.backbone)
    except errors.ConfigError as error:
        return str(error)
    return None


def fill_network(model: keras.Model, description: Mapping[str, Any]) -> None:
    """Assigns its reference value to every variable.

    Args:
        model: The network.
        description: The result of `load_description`.

    Raises:
        AssertionError: The variables are not those that the golden data
            describe.
    """
    variables = deeplab2_keys.deeplab2_keys(model.variables)
    expected = description["keys"]
    _require_same(set(variables), set(expected) - BOOKKEEPING)
    fill = load_maker().fill
    for key, variable in variables.items():
        if list(variable.shape) != expected[key]["shape"]:
            raise AssertionError(
                f"{variable.path} has the shape {tuple(variable.shape)}, "
                f"{key} {expected[key]['shape']}."
            )
        variable.assign(fill(key, variable.shape, "float32"))
    if count_parameters(model) != description["n_parameters"]:
        raise AssertionError(
            f"The network has {count_parameters(model)} parameters, the "
            f"reference {description['n_parameters']}."
        )


def count_parameters(model: keras.Model) -> int:
    """Returns how many numbers of a model are in its checkpoints."""
    return sum(
        int(variable.value.shape.num_elements())
        for variable in model.variables
        if not re.search(r"/seed_generator_state$", variable.path)
    )


def _require_same(ours: set[str], theirs: set[str]) -> None:
    if ours != theirs:
        raise AssertionError(
            f"Only here: {sorted(ours - theirs)[:5]}; only in the reference: "
            f"{sorted(theirs - ours)[:5]}."
        )
