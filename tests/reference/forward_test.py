# SPDX-License-Identifier: Apache-2.0
"""Inference of whole networks equals deeplab2's, weight for weight."""

import gc

import numpy as np
import tensorflow as tf

from deeplab2_like.model import multi_scale
from deeplab2_like.model.encoder_input import normalize_images
from deeplab2_like.model.outputs import resize_outputs
from deeplab2_like.testing import reference_networks

FAMILY = "forward"


def is_slow(path):
    """The small networks are enough for the fast tests."""
    return "mobilenet" not in path.stem


def _build(meta):
    """Builds the model and gives every variable its reference value."""
    model = reference_networks.build_network(
        meta["config"], tuple(meta["crop"])
    )
    description = reference_networks.load_description(meta["name"])
    reference_networks.fill_network(model, description)
    return model


def _compute_full_size(model, image, meta, outputs):
    """Returns logits, probabilities, heatmap, offsets at the image's size."""
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


def _compute_endpoints(backbone, image):
    """Returns what the backbone computes, and what it only stores."""
    images = normalize_images(image, "float32")
    endpoints = backbone(images, training=False)
    endpoints["backbone_output"] = endpoints["res5"]
    if hasattr(backbone, "stacked_decoder"):
        endpoints["backbone_output"] = backbone.stacked_decoder(
            endpoints, training=False
        )
    return endpoints


def _compute(model, image, meta):
    """Returns all arrays that a case may hold."""
    outputs = model(image, training=False)
    arrays = {f"raw/{key}": value for key, value in outputs.items()}
    full = _compute_full_size(model, image, meta, outputs)
    step = meta["semantic_stride"]
    for name in ("semantic_logits", "semantic_probs"):
        arrays[f"full/{name}"] = full[name][:, ::step, ::step]
    if "offset_map" in full:
        arrays["full/center_heatmap"] = full["center_heatmap"]
        arrays["full/offset_map"] = full["offset_map"][:, ::2, ::2]
    endpoints = _compute_endpoints(model.backbone, image)
    for name, description in meta["endpoints"].items():
        flat = tf.reshape(endpoints[name], [-1])
        arrays[f"endpoint/{name}"] = flat[:: description["step"]]
    return arrays


def test_networks_give_what_the_reference_gives(reference_case):
    with reference_case() as case:
        model = _build(case.meta)
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
