# SPDX-License-Identifier: Apache-2.0
"""State dicts with the keys and shapes of other libraries' models."""

import numpy as np
import pytest


class _Writer:
    """Collects arrays; they are zeros without memory unless there is a seed."""

    def __init__(self, seed):
        self.arrays = {}
        self._random = None if seed is None else np.random.default_rng(seed)

    def _put(self, key, shape, scale=None, shift=0.0):
        value = np.broadcast_to(np.float32(shift), shape)
        if self._random is not None:
            value = np.full(shape, shift, np.float32)
            if scale:
                value += self._random.normal(0.0, scale, shape)
        self.arrays[key] = value.astype(np.float32, copy=False)

    def conv(self, key, out, inputs, side=1, *, bias=False, scale=None):
        self._put(
            f"{key}.weight",
            (out, inputs, side, side),
            scale or (2.0 / (inputs * side * side)) ** 0.5,
        )
        if bias:
            self._put(f"{key}.bias", (out,), 0.1)

    def linear(self, key, out, inputs, scale=None):
        self._put(f"{key}.weight", (out, inputs), scale or inputs**-0.5)
        self._put(f"{key}.bias", (out,), 0.1)

    def norm(self, key, channels, factor=1.0, *, statistics=True, steps=True):
        self._put(f"{key}.weight", (channels,), 0.1, factor)
        self._put(f"{key}.bias", (channels,), 0.1)
        if statistics:
            self._put(f"{key}.running_mean", (channels,), 0.1)
            self._put(f"{key}.running_var", (channels,), None, 1.0)
        if statistics and steps:
            self.arrays[f"{key}.num_batches_tracked"] = np.array(7)


def _blocks(depth):
    channels = 64
    counts = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3)}[depth]
    for stage, count in enumerate(counts):
        width = 64 * 2**stage
        for block in range(count):
            yield stage, block, channels, width
            channels = 4 * width


def _write_torchvision(writer, depth):
    writer.conv("backbone.conv1", 64, 3, 7)
    writer.norm("backbone.bn1", 64)
    for stage, block, inputs, width in _blocks(depth):
        key = f"backbone.layer{stage + 1}.{block}"
        sides = ((width, inputs, 1), (width, width, 3), (4 * width, width, 1))
        for number, (out, channels, side) in enumerate(sides, 1):
            writer.conv(f"{key}.conv{number}", out, channels, side)
            factor = 0.2 if number == 3 else 1.0
            writer.norm(f"{key}.bn{number}", out, factor)
        if block == 0:
            writer.conv(f"{key}.downsample.0", 4 * width, inputs)
            writer.norm(f"{key}.downsample.1", 4 * width)


def _write_separable(writer, key, inputs, out):
    writer.conv(f"{key}.0.0", inputs, 1, 5)
    writer.norm(f"{key}.0.1", inputs)
    writer.conv(f"{key}.1", out, inputs)
    writer.norm(f"{key}.2", out)


def _write_decoder(writer, key, low_level, out):
    for number, side in enumerate((1, 3, 3, 3)):
        writer.conv(f"{key}.aspp.convs.{number}.0", 256, 2048, side)
        writer.norm(f"{key}.aspp.convs.{number}.1", 256)
    writer.conv(f"{key}.aspp.convs.4.aspp_pooling.1", 256, 2048)
    writer.conv(f"{key}.aspp.project.0", 256, 5 * 256)
    writer.norm(f"{key}.aspp.project.1", 256)
    channels = 256
    for number, (inputs, projected) in enumerate(low_level):
        writer.conv(f"{key}.project.{number}.0", projected, inputs)
        writer.norm(f"{key}.project.{number}.1", projected)
        _write_separable(
            writer, f"{key}.fuse.{number}.0", channels + projected, out
        )
        channels = out


@pytest.fixture(scope="session")
def make_panoptic_deeplab():
    """Returns a function that makes arrays of bowenc0221's models."""

    def make(
        num_classes=19,
        *,
        depth=50,
        projected=(128, 64, 32),
        has_instance=True,
        seed=None,
    ):
        writer = _Writer(seed)
        _write_torchvision(writer, depth)
        inputs = (1024, 512, 256)[-len(projected) :]
        low_level = list(zip(inputs, projected, strict=True))
        _write_decoder(writer, "decoder.semantic_decoder", low_level, 256)
        heads = [("semantic_head", "semantic", 256, 256, num_classes)]
        if has_instance:
            low_level = [(channels, out // 2) for channels, out in low_level]
            _write_decoder(writer, "decoder.instance_decoder", low_level, 128)
            heads.append(("instance_head", "center", 128, 32, 1))
            heads.append(("instance_head", "offset", 128, 32, 2))
        for head, name, channels, middle, out in heads:
            key = f"decoder.{head}.classifier.{name}"
            _write_separable(writer, f"{key}.0.0", channels, middle)
            writer.conv(f"{key}.1", out, middle, bias=True)
        return writer.arrays

    return make


def _write_detectron2_resnet(writer, depth):
    def write(key, out, channels, side, factor=1.0):
        writer.conv(key, out, channels, side)
        writer.norm(f"{key}.norm", out, factor, steps=False)

    prefix = "backbone.bottom_up"
    # The images are not divided by a deviation.
    write(f"{prefix}.stem.conv1", 64, 3, 7, 0.01)
    for stage, block, inputs, width in _blocks(depth):
        key = f"{prefix}.res{stage + 2}.{block}"
        if block == 0:
            write(f"{key}.shortcut", 4 * width, inputs, 1)
        write(f"{key}.conv1", width, inputs, 1)
        write(f"{key}.conv2", width, width, 3)
        write(f"{key}.conv3", 4 * width, width, 1, 0.2)


@pytest.fixture(scope="session")
def make_panoptic_fpn():
    """Returns a function that makes arrays of detectron2's models."""

    def make(*, depth=50, things=80, stuff=53, seed=None):
        writer = _Writer(seed)
        _write_detectron2_resnet(writer, depth)
        for level, channels in zip(
            (2, 3, 4, 5), (256, 512, 1024, 2048), strict=True
        ):
            writer.conv(
                f"backbone.fpn_lateral{level}", 256, channels, bias=True
            )
            writer.conv(f"backbone.fpn_output{level}", 256, 256, 3, bias=True)
            for number in range(max(1, level - 2)):
                key = f"sem_seg_head.p{level}.{2 * number}"
                writer.conv(key, 128, 128 if number else 256, 3)
                writer.norm(f"{key}.norm", 128, statistics=False)
        writer.conv("sem_seg_head.predictor", 1 + stuff, 128, bias=True)
        rpn = "proposal_generator.rpn_head"
        writer.conv(f"{rpn}.conv", 256, 256, 3, bias=True)
        writer.conv(f"{rpn}.objectness_logits", 3, 256, bias=True, scale=0.01)
        writer.conv(f"{rpn}.anchor_deltas", 12, 256, bias=True, scale=0.01)
        writer.linear("roi_heads.box_head.fc1", 1024, 256 * 7 * 7)
        writer.linear("roi_heads.box_head.fc2", 1024, 1024)
        box = "roi_heads.box_predictor"
        writer.linear(f"{box}.cls_score", things + 1, 1024, 0.001)
        writer.linear(f"{box}.bbox_pred", 4 * things, 1024, 0.0001)
        mask = "roi_heads.mask_head"
        for number in range(1, 5):
            writer.conv(f"{mask}.mask_fcn{number}", 256, 256, 3, bias=True)
        writer.conv(f"{mask}.deconv", 256, 256, 2, bias=True)
        writer.conv(f"{mask}.predictor", things, 256, bias=True)
        return writer.arrays

    return make
