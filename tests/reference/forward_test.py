# SPDX-License-Identifier: Apache-2.0
"""Inference of whole networks equals deeplab2's, weight for weight.

Cases whose backbone does not exist yet are skipped by name; this family is
therefore not yet one of `reference.FAMILIES`.
"""

import functools
import gc
import importlib.util
import json
import re

import numpy as np
import pytest
import tensorflow as tf

from deeplab2_like.errors import ConfigError
from deeplab2_like.model import multi_scale
from deeplab2_like.model.build import build_model
from deeplab2_like.model.deeplab2_keys import deeplab2_keys
from deeplab2_like.model.encoder_input import normalize_images
from deeplab2_like.model.outputs import resize_outputs
from deeplab2_like.protos import model_pb2, trainer_pb2
from deeplab2_like.testing import reference

_CASES = reference.find_cases("forward", "*.npz")
_BOOKKEEPING = {
    "global_step/.ATTRIBUTES/VARIABLE_VALUE",
    "save_counter/.ATTRIBUTES/VARIABLE_VALUE",
    "_CHECKPOINTABLE_OBJECT_GRAPH",
}


def _read_json(relative):
    path = reference.find_support_file(relative)
    return json.loads(path.read_text(encoding="utf-8"))


@functools.cache
def _fill_rule():
    """The function that gives a variable's value from its key."""
    path = reference.find_support_file("make_reference_checkpoint.py")
    spec = importlib.util.spec_from_file_location("fill_rule", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.fill


def _set_field(message, path, value):
    """Sets a field by its dotted path, such as `low_level[1].feature_key`."""
    *parents, last = path.split(".")
    for parent in parents:
        name, index = re.fullmatch(r"(\w+)(?:\[(\d+)\])?", parent).groups()
        message = getattr(message, name)
        if index is not None:
            while len(message) <= int(index):
                message.add()
            message = message[int(index)]
    if isinstance(value, list):
        getattr(message, last).extend(value)
    else:
        setattr(message, last, value)


def _options(config_path):
    """Gives the model and solver options of a config that deeplab2 ships."""
    facts = _read_json("deeplab2_configs.json")
    name = config_path.removeprefix("configs/").removesuffix(".textproto")
    model, solver = model_pb2.ModelOptions(), trainer_pb2.SolverOptions()
    for path, value in (facts["common"] | facts["configs"][name]).items():
        if path.startswith("model_options."):
            _set_field(model, path.removeprefix("model_options."), value)
        prefix = "trainer_options.solver_options."
        if path.startswith(prefix):
            _set_field(solver, path.removeprefix(prefix), value)
    return model, solver


def _build(meta, description):
    """Builds the model and gives every variable its reference value."""
    options, solver = _options(meta["config"])
    num_classes = options.panoptic_deeplab.semantic_head.output_channels
    try:
        model = build_model(
            options,
            solver,
            num_classes=num_classes,
            train_crop_size=meta["crop"],
        )
    except ConfigError as error:
        pytest.skip(str(error))
    variables = deeplab2_keys(model.variables)
    assert set(variables) == set(description["keys"]) - _BOOKKEEPING
    for key, variable in variables.items():
        assert list(variable.shape) == description["keys"][key]["shape"]
        variable.assign(_fill_rule()(key, variable.shape, "float32"))
    assert model.count_params() == description["n_parameters"]
    return model


def _compute_full_size(model, image, meta, outputs):
    """Gives logits, probabilities, heatmap and offsets at the image's size."""
    views = multi_scale.make_views(
        meta["eval_scales"], meta.get("add_flipped_images", False)
    )
    if len(views) > 1:
        full = multi_scale.average_views(
            lambda x, scale: model(x, training=False, image_scale=scale),
            image,
            views,
        )
        full["center_heatmap"] = tf.squeeze(full["center_heatmap"], axis=3)
        return full
    full = resize_outputs(outputs, image.shape[1:3])
    return full | {"semantic_probs": tf.nn.softmax(full["semantic_logits"])}


def _compute(model, image, meta):
    """Gives all arrays that a case may hold."""
    outputs = model(image, training=False)
    arrays = {f"raw/{key}": value for key, value in outputs.items()}
    full = _compute_full_size(model, image, meta, outputs)
    step = meta["semantic_stride"]
    for name in ("semantic_logits", "semantic_probs"):
        arrays[f"full/{name}"] = full[name][:, ::step, ::step]
    if "offset_map" in full:
        arrays["full/center_heatmap"] = full["center_heatmap"]
        arrays["full/offset_map"] = full["offset_map"][:, ::2, ::2]
    endpoints = model.backbone(
        normalize_images(image, "float32"), training=False
    )
    endpoints["backbone_output"] = endpoints["res5"]
    for name, description in meta["endpoints"].items():
        flat = tf.reshape(endpoints[name], [-1])
        arrays[f"endpoint/{name}"] = flat[:: description["step"]]
    return arrays


@pytest.mark.parametrize(
    "path",
    [
        pytest.param(
            path,
            id=path.stem,
            marks=[] if "mobilenet" in path.stem else [pytest.mark.slow],
        )
        for path in _CASES
    ],
)
def test_networks_give_what_the_reference_gives(path):
    with reference.Case(path, reference.FamilyScore()) as case:
        description = _read_json(
            f"deeplab2_checkpoints/{case.meta['name']}.json"
        )
        model = _build(case.meta, description)
        arrays = _compute(model, case.input("image"), case.meta)
        for name in case.names():
            if name == "image":
                continue
            expected = case.input(name)
            case.compare(
                name,
                arrays[name],
                atol=1e-4 * np.abs(expected).max() + 1e-5,
            )
    del model, arrays
    gc.collect()


def test_there_are_cases_where_there_is_a_folder():
    if not (reference.folder() / "forward").is_dir():
        pytest.skip("no golden data: the folder forward is absent")
    assert _CASES
