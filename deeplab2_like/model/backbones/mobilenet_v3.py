# SPDX-License-Identifier: Apache-2.0
"""MobileNetV3, Small and Large, at any output stride.

Howard et al., arXiv:1905.02244, tables 1 and 2. As in deeplab2 the endpoints
are the depthwise outputs (expanded, before squeeze-and-excite) of the last
block of each resolution, and the gates are sigmoids, unless another graph is
chosen.

In reading order: the tables, the plan of strides and rates, the block, the
network.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from deeplab2_like.model.backbones import graphs
from deeplab2_like.model.layers.convolution import (
    ConvBNAct,
    DepthwiseConvBNAct,
)
from deeplab2_like.model.layers.squeeze_excite import SqueezeExcite


@dataclasses.dataclass(frozen=True)
class BlockSpec:
    """One inverted bottleneck: a row of the paper's tables."""

    kernel_size: int
    strides: int
    expansion: float
    filters: int
    activation: str
    squeeze_excite: bool


@dataclasses.dataclass(frozen=True)
class VariantSpec:
    """A network: stem, blocks, final 1x1 convolution.

    `endpoints` names the block (0 = stem, last = final convolution) whose
    output is an endpoint.
    """

    blocks: tuple[BlockSpec, ...]
    final_filters: int
    endpoints: Mapping[str, int]
    stem_filters: int = 16


def _rows(*rows) -> tuple[BlockSpec, ...]:
    return tuple(BlockSpec(*row) for row in rows)


_RE, _HS = "relu", "hard_swish"

VARIANTS: Mapping[str, VariantSpec] = {
    "small": VariantSpec(
        blocks=_rows(
            (3, 2, 1, 16, _RE, True),
            (3, 2, 72 / 16, 24, _RE, False),
            (3, 1, 88 / 24, 24, _RE, False),
            (5, 2, 4, 40, _HS, True),
            (5, 1, 6, 40, _HS, True),
            (5, 1, 6, 40, _HS, True),
            (5, 1, 3, 48, _HS, True),
            (5, 1, 3, 48, _HS, True),
            (5, 2, 6, 96, _HS, True),
            (5, 1, 6, 96, _HS, True),
            (5, 1, 6, 96, _HS, True),
        ),
        final_filters=576,
        endpoints={"res1": 0, "res2": 1, "res3": 3, "res4": 8, "res5": 12},
    ),
    "large": VariantSpec(
        blocks=_rows(
            (3, 1, 1, 16, _RE, False),
            (3, 2, 4, 24, _RE, False),
            (3, 1, 3, 24, _RE, False),
            (5, 2, 3, 40, _RE, True),
            (5, 1, 3, 40, _RE, True),
            (5, 1, 3, 40, _RE, True),
            (3, 2, 6, 80, _HS, False),
            (3, 1, 2.5, 80, _HS, False),
            (3, 1, 2.3, 80, _HS, False),
            (3, 1, 2.3, 80, _HS, False),
            (3, 1, 6, 112, _HS, True),
            (3, 1, 6, 112, _HS, True),
            (5, 2, 6, 160, _HS, True),
            (5, 1, 6, 160, _HS, True),
            (5, 1, 6, 160, _HS, True),
        ),
        final_filters=960,
        endpoints={"res1": 1, "res2": 3, "res3": 6, "res4": 12, "res5": 16},
    ),
}


def round_to_divisor(value: float, divisor: int = 8) -> int:
    """Returns the nearest multiple of `divisor`, never below 0.9 * value."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def plan_strides(
    strides: Sequence[int], output_stride: int, stem_stride: int = 2
) -> list[tuple[int, int]]:
    """Returns (stride, dilation rate) of each block.

    A block whose stride would go beyond `output_stride` keeps the resolution
    and the rate before it; the blocks after it dilate by its stride more.

    Args:
        strides: Strides of the blocks in the classification network.
        output_stride: Image size / size of the last feature map.
        stem_stride: Stride in front of the first block.
    """
    current, rate, plan = stem_stride, 1, []
    for stride in strides:
        if current < output_stride or stride == 1:
            plan.append((stride, rate))
            current *= stride
        else:
            plan.append((1, rate))
            rate *= stride
    return plan


@keras.saving.register_keras_serializable("deeplab2_like")
class InvertedBottleneck(keras.layers.Layer):
    """1x1 expansion, depthwise convolution, SE gates, 1x1 projection.

    The depthwise output, before the gates, may be an endpoint of the backbone.

    Args:
        filters: Output channels.
        expanded_filters: Channels of the depthwise convolution; equal to the
            input channels when `expand` is false.
        expand: Whether the 1x1 expansion exists.
        depthwise: Arguments of `DepthwiseConvBNAct` (kernel_size, strides,
            dilation_rate, padding) without the activation.
        activation: Activation of expansion and depthwise convolution, a key of
            `ACTIVATIONS`.
        squeeze_excite: Whether the gates exist, with a quarter of the
            channels inside; a key of `squeeze_excite.GATES` if they are not
            sigmoids.
        residual: Whether the input is added where channels and size agree.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        filters: int,
        expanded_filters: int,
        *,
        depthwise: Mapping[str, Any],
        expand: bool = True,
        activation: str = "relu",
        squeeze_excite: bool | str = False,
        residual: bool = True,
        batch_norm: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self._config = {
            "filters": filters,
            "expanded_filters": expanded_filters,
            "depthwise": dict(depthwise),
            "expand": expand,
            "activation": activation,
            "squeeze_excite": squeeze_excite,
            "residual": residual,
            "batch_norm": dict(batch_norm or {}),
        }
        norm = {"batch_norm": batch_norm, "dtype": self.dtype_policy}
        self.expand = None
        self.squeeze_excite = None
        if expand:
            self.expand = ConvBNAct(
                expanded_filters, activation=activation, name="expand", **norm
            )
        self.depthwise = DepthwiseConvBNAct(
            **depthwise, activation=activation, name="depthwise", **norm
        )
        if squeeze_excite:
            self.squeeze_excite = SqueezeExcite(
                round_to_divisor(0.25 * expanded_filters),
                gate="sigmoid" if squeeze_excite is True else squeeze_excite,
                dtype=self.dtype_policy,
                name="squeeze_excite",
            )
        self.project = ConvBNAct(
            filters, activation="none", name="project", **norm
        )
        self.depthwise_channels = expanded_filters
        self._adds_input = False

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        expanded = (None, None, None, self._config["expanded_filters"])
        if self.expand is not None:
            self.expand.build(input_shape)
        self.depthwise.build(expanded)
        if self.squeeze_excite is not None:
            self.squeeze_excite.build(expanded)
        self.project.build(expanded)
        self._adds_input = (
            self._config["residual"]
            and self.depthwise.strides == 1
            and input_shape[-1] == self._config["filters"]
        )

    def call(self, inputs, training=None):
        """Returns (block output, depthwise output), float [B, h, w, C] both."""
        x = inputs
        if self.expand is not None:
            x = self.expand(x, training=training)
        expanded = x = self.depthwise(x, training=training)
        if self.squeeze_excite is not None:
            x = self.squeeze_excite(x)
        x = self.project(x, training=training)
        if self._adds_input:
            # Stochastic depth would scale x here.
            x = x + inputs
        return x, expanded

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | self._config


@keras.saving.register_keras_serializable("deeplab2_like")
class MobileNetV3(keras.Model):
    """MobileNetV3 without its classifier, as an encoder.

    Args:
        variant: "small" or "large".
        output_stride: 8, 16 or 32.
        graph: A key of `graphs.MOBILENETS`.
        batch_norm: Keyword arguments of `BatchNorm` (None: its defaults).
    """

    def __init__(
        self,
        variant: str,
        output_stride: int = 32,
        *,
        graph: str = graphs.DEFAULT,
        batch_norm: Mapping[str, Any] | None = None,
        name: str = "backbone",
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, **kwargs)
        if variant not in VARIANTS:
            raise ValueError(
                f"variant is {variant!r} - known are {', '.join(VARIANTS)}."
            )
        if output_stride not in (8, 16, 32):
            raise ValueError(
                f"output_stride is {output_stride} - 8, 16 and 32 are allowed."
            )
        self.variant = variant
        self.output_stride = output_stride
        self.graph = graph
        self.batch_norm = dict(batch_norm or {})
        self._spec = VARIANTS[variant]
        self._graph = graphs.graph_of(graph, graphs.MOBILENETS)
        self.normalize = self._graph.make_normalization(self.dtype_policy)
        options = {
            "batch_norm": self._graph.adapt_batch_norm(batch_norm),
            "dtype": self.dtype_policy,
        }
        self.stem = ConvBNAct(
            self._spec.stem_filters,
            3,
            strides=2,
            activation="hard_swish",
            padding=self._graph.padding,
            name="block0",
            **options,
        )
        self.blocks = self._make_blocks(options)
        self.final = ConvBNAct(
            self._spec.final_filters,
            activation="hard_swish",
            name=f"block{len(self.blocks) + 1}",
            **options,
        )

    def _make_blocks(self, options) -> list[InvertedBottleneck]:
        specs = self._spec.blocks
        plan = plan_strides([s.strides for s in specs], self.output_stride)
        channels = self._spec.stem_filters
        blocks = []
        for number, (spec, (strides, rate)) in enumerate(
            zip(specs, plan, strict=True), 1
        ):
            blocks.append(
                InvertedBottleneck(
                    spec.filters,
                    round_to_divisor(channels * spec.expansion),
                    depthwise={
                        "kernel_size": spec.kernel_size,
                        "strides": strides,
                        "dilation_rate": rate,
                        "padding": self._graph.padding,
                    },
                    expand=spec.expansion > 1,
                    activation=spec.activation,
                    squeeze_excite=spec.squeeze_excite and self._graph.gate,
                    residual=spec.strides == 1,
                    name=f"block{number}",
                    **options,
                )
            )
            channels = spec.filters
        return blocks

    @property
    def output_channels(self) -> dict[str, int]:
        """Channels of each endpoint."""
        expanded = [block.depthwise_channels for block in self.blocks]
        stem, final = self._spec.stem_filters, self._spec.final_filters
        return self._name_endpoints([stem, *expanded, final])

    def _name_endpoints(self, by_block: Sequence[Any]) -> dict[str, Any]:
        """Returns the values of the blocks that are endpoints, by name."""
        endpoints = self._spec.endpoints.items()
        return {name: by_block[number] for name, number in endpoints}

    def build(self, input_shape):
        """Makes the variables for `input_shape` [B, H, W, C]."""
        if self.normalize is not None:
            self.normalize.build(input_shape)
        self.stem.build(input_shape)
        channels = self._spec.stem_filters
        for block, spec in zip(self.blocks, self._spec.blocks, strict=True):
            block.build((None, None, None, channels))
            channels = spec.filters
        self.final.build((None, None, None, channels))

    def call(self, inputs, training=None):
        """Returns the feature maps.

        Args:
            inputs: float [B, H, W, 3], RGB, -1..1.
            training: Batch statistics.

        Returns:
            {"res1" ... "res5": float [B, h, w, C]}, strides 2, 4, 8, 16, 32
            up to the output stride.
        """
        x = inputs if self.normalize is None else self.normalize(inputs)
        x = self.stem(x, training=training)
        by_block = [x]
        for block in self.blocks:
            x, expanded = block(x, training=training)
            by_block.append(expanded)
        by_block.append(self.final(x, training=training))
        return self._name_endpoints(by_block)

    def get_config(self) -> dict[str, Any]:
        """Returns the constructor's arguments."""
        return super().get_config() | {
            "variant": self.variant,
            "output_stride": self.output_stride,
            "graph": self.graph,
            "batch_norm": dict(self.batch_norm),
        }


def mobilenet_v3_small(output_stride: int = 32, **kwargs: Any) -> MobileNetV3:
    """Returns MobileNetV3-Small; other arguments are those of `MobileNetV3`."""
    return MobileNetV3("small", output_stride, **kwargs)


def mobilenet_v3_large(output_stride: int = 32, **kwargs: Any) -> MobileNetV3:
    """Returns MobileNetV3-Large; other arguments are those of `MobileNetV3`."""
    return MobileNetV3("large", output_stride, **kwargs)
