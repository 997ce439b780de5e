# SPDX-License-Identifier: Apache-2.0
"""Images that name their pixels, and networks that are exact on them.

A pixel of `PlacedImage` says where it is, so that a network of a test can
return the part of a given map that its tile shows.
"""

import dataclasses
import types

import numpy as np
import tensorflow as tf

from deeplab2_like.data import preprocessing
from deeplab2_like.large_images import network
from deeplab2_like.large_images.source import Box, LargeImage, Window
from deeplab2_like.postprocess import options as rules_lib
from deeplab2_like.postprocess import panoptic_deeplab, semantic_only
from deeplab2_like.storage.file_identity import Source

STRIDE = 16  # Output stride.


@dataclasses.dataclass
class ArrayImage(LargeImage):
    """An image in memory, with damaged parts."""

    pixels: np.ndarray
    damaged: tuple[Box, ...] = ()
    void: np.ndarray | None = None
    path: str = "drawn"
    reads: int = 0

    @property
    def height(self):
        return self.pixels.shape[0]

    @property
    def width(self):
        return self.pixels.shape[1]

    def read(self, top, left, bottom, right):
        self.reads += 1
        pixels = self.pixels[top:bottom, left:right].copy()
        found = []
        for box in self.damaged:
            part = Box(
                max(box.top, top),
                max(box.left, left),
                min(box.bottom, bottom),
                min(box.right, right),
            )
            if part.top < part.bottom and part.left < part.right:
                found.append(part)
                pixels[
                    part.top - top : part.bottom - top,
                    part.left - left : part.right - left,
                ] = 0
        void = None if self.void is None else self.void[top:bottom, left:right]
        return Window(pixels, tuple(found), void)

    def describe(self):
        return Source(self.path, self.pixels.size, 1)


def place_image(height, width, damaged=()):
    """Returns an image whose pixels say where they are."""
    y, x = np.mgrid[:height, :width]
    pixels = np.stack([y % 256, x % 256, y // 256 * 16 + x // 256], axis=2)
    return ArrayImage(pixels.astype(np.uint8), damaged)


def read_place(canvas_bhw3):
    """Returns row and column of the first pixel of a tile."""
    y, x, more = (int(v) for v in canvas_bhw3[0, 0, 0].numpy())
    return y + more // 16 * 256, x + more % 16 * 256


def make_heads(seed, size, stride, *, with_centers=True, num_classes=5):
    """Draws head outputs of the canvas of an image: noise, and some objects."""
    rng = np.random.default_rng(seed)
    h, w = (-(-(n - 1) // STRIDE) * STRIDE // stride + 1 for n in size)
    h, w = (max(n, STRIDE // stride + 1) for n in (h, w))
    y, x = np.mgrid[:h, :w].astype(np.float32)
    logits = rng.normal(0, 1, (h, w, num_classes))
    count = max(3, h * w // 60)
    cy, cx = rng.integers(0, h, count), rng.integers(0, w, count)
    distance = np.hypot(y[..., None] - cy, x[..., None] - cx)
    nearest = distance.argmin(axis=2)
    is_object = distance.min(axis=2) < 5
    logits[..., 3] += 4 * (is_object & (nearest % 2 == 0))
    logits[..., 4] += 4 * (is_object & (nearest % 2 == 1))
    heatmap = np.exp(-(distance.min(axis=2) ** 2) / 2)
    heatmap = np.round(heatmap * 8) / 8  # With equal peaks side by side.
    offset = np.stack([cy[nearest] - y, cx[nearest] - x], axis=2)
    offset += rng.normal(0, 1, offset.shape)
    offset[rng.random((h, w)) < 0.01] *= 40
    heads = {}
    if with_centers:
        heads["center_heatmap"] = heatmap[..., None]
        heads["offset_map"] = offset
    heads["semantic_logits"] = logits
    return {name: v.astype(np.float32) for name, v in heads.items()}


def make_rules(*, with_centers=True, limit=50, kernel=7, divisor=100_000):
    """Returns rules of five classes: 0 and 1 stuff, 2 void, 3 and 4 things."""
    return rules_lib.PixelRules(
        rules_lib.ClassRules(
            num_classes=5,
            thing_ids=(3, 4),
            ignore_label=2,
            label_divisor=divisor,
            stuff_area_limit=40,
        ),
        rules_lib.CenterRules(0.1, kernel, limit) if with_centers else None,
    )


def make_model(heads, rules, stride, *, spoiled=0, fingerprint="one"):
    """Returns a model that answers with parts of given maps.

    Args:
        heads: The maps of the whole canvas, by name.
        rules: Rules of the system.
        stride: Pixels between head positions.
        spoiled: Positions at the borders of a tile that are not numbers.
        fingerprint: The one of the model.
    """

    def infer(canvas_bhw3):
        top, left = (n // stride for n in read_place(canvas_bhw3))
        side = (canvas_bhw3.shape[1] - 1) // stride + 1
        outputs = {}
        for name, values in heads.items():
            height, width = values.shape[:2]
            part = values[top : top + side, left : left + side]
            missing = [(0, side - n) for n in part.shape[:2]]
            part = np.pad(part, [*missing, (0, 0)])
            part = part.copy()
            if spoiled:
                part[:spoiled] = part[:spoiled] if top == 0 else np.nan
                part[:, :spoiled] = part[:, :spoiled] if left == 0 else np.nan
                if top + side < height:
                    part[-spoiled:] = np.nan
                if left + side < width:
                    part[:, -spoiled:] = np.nan
            outputs[name] = tf.constant(part[np.newaxis])
        return outputs

    system = types.SimpleNamespace(pixel_rules=rules, output_stride=STRIDE)
    options = preprocessing.Preprocessing(crop_size=(33, 33))
    return network.TileModel(system, options, infer, fingerprint)


def segment_whole(heads, rules, size, limit=None):
    """Returns the `Prediction` of the whole maps, as arrays of one image."""
    shape = next(iter(heads.values())).shape[:2]
    steps = (-(-(size[0] - 1) // STRIDE) or 1) * STRIDE
    stride = steps // (shape[0] - 1)
    shared = {
        "canvas_size": tuple((n - 1) * stride + 1 for n in shape),
        "valid_size": tf.constant([size]),
        "class_rules": rules.classes,
    }
    maps = [tf.constant(values[np.newaxis]) for values in heads.values()]
    name = list(heads)[-1]
    shared["are_probabilities"] = name == "semantic_probs"
    if rules.centers is None:
        found = semantic_only.postprocess(maps[-1], **shared)
    else:
        center_rules = rules.centers
        if limit is not None:
            center_rules = dataclasses.replace(
                center_rules, keep_k_centers=limit
            )
        found = panoptic_deeplab.postprocess(
            maps[2], maps[0], maps[1], center_rules=center_rules, **shared
        )
    return {name: v.numpy()[0] for name, v in found.as_dict().items()}


def number_segments(found, rules, size):
    """Returns the ids 1 to S of a `Prediction`, uint32 [H, W], and its table.

    The table has the columns of `Segments`, by name.
    """
    rows = np.flatnonzero(found["segment_is_valid"])
    ids = found.get("panoptic")
    if ids is None:
        ids = found["semantic"] * rules.classes.label_divisor
    ids = ids[: size[0], : size[1]]
    labels = np.zeros(size, np.uint32)
    boxes = []
    for number, row in enumerate(rows, 1):
        is_here = ids == found["segment_id"][row]
        labels[is_here] = number
        y, x = np.nonzero(is_here)
        boxes.append((y.min(), x.min(), y.max() + 1, x.max() + 1))
    category = found["segment_category"][rows]
    is_thing = np.isin(category, rules.classes.thing_ids)
    return labels, {
        "id": np.arange(1, len(rows) + 1),
        "category": category,
        "is_thing": is_thing & (rules.centers is not None),
        "area": found["segment_area"][rows],
        "bbox": np.array(boxes, np.int64).reshape(-1, 4),
        "score": found["segment_score"][rows],
    }
