# SPDX-License-Identifier: Apache-2.0
"""Graphs of a network: what libraries that agree on its layers do differently.

Published weights give what they were trained to give in their own graph only.
"deeplab2" is the default everywhere: images in -1..1 as they are, the epsilon
of batch norm that the config sets, and for ResNets no pooling and the stride in
the 3x3 convolution, for MobileNetV3 sigmoid gates. In the other graphs a
network normalizes images itself and has its own epsilon, and

- "torchvision": ResNets have a max pooling behind the stem, MobileNetV3 has
  hard sigmoids as gates;
- "keras" (`keras.applications`): ResNets also have the stride in the first 1x1
  convolution, and take BGR without a deviation; MobileNetV3 has hard sigmoids
  and TensorFlow's padding;
- "detectron2" (its caffe-style ResNets): as "keras", with another mean and
  epsilon, and trained with frozen batch norms.

All of these ResNets pad as this package does. Those of `keras.applications`
have biases in their convolutions, which the batch norms behind them absorb.

Sources: torchvision.models.resnet and .mobilenetv3, detectron2.modeling
.backbone.resnet and detectron2.layers.batch_norm, keras.applications.resnet,
.mobilenet_v3 and .imagenet_utils.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from deeplab2_like.model.layers.channel_affine import (
    IMAGENET_DEVIATION,
    IMAGENET_MEAN,
    ChannelAffine,
)

DEFAULT = "deeplab2"

_Values = tuple[float, float, float]


@dataclasses.dataclass(frozen=True)
class Graph:
    """Options of a network that belong together.

    Attributes:
        mean: RGB values in 0..1 that become 0 in front of the stem; None:
            images are not normalized.
        deviation: RGB values in 0..1 that the differences are divided by.
        is_bgr: Whether published weights take BGR. As networks of this package
            take RGB, the kernel of the stem is reversed when weights are read.
        epsilon: Epsilon of all batch norms; None: that of `batch_norm`.
        pools_stem: Whether a 3x3 max pooling behind the stem has the stride
            that otherwise the first block has.
        strides_first: Whether the first 1x1 convolution of a bottleneck has
            its stride, not the 3x3 one.
        padding: A key of `convolution.PADDINGS`.
        gate: A key of `squeeze_excite.GATES`.
    """

    mean: _Values | None = None
    deviation: _Values = IMAGENET_DEVIATION
    is_bgr: bool = False
    epsilon: float | None = None
    pools_stem: bool = False
    strides_first: bool = False
    padding: str = "symmetric"
    gate: str = "sigmoid"

    def adapt_batch_norm(
        self, batch_norm: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """Returns the arguments of `BatchNorm` with the graph's epsilon."""
        changed = {} if self.epsilon is None else {"epsilon": self.epsilon}
        return dict(batch_norm or {}) | changed

    def make_normalization(self, dtype: Any) -> ChannelAffine | None:
        """Makes the layer in front of the stem, if there is one."""
        if self.mean is None:
            return None
        return ChannelAffine(
            self.mean, self.deviation, dtype=dtype, name="normalize"
        )


def _from_bytes(red: float, green: float, blue: float) -> _Values:
    return (red / 255.0, green / 255.0, blue / 255.0)


RESNETS: Mapping[str, Graph] = {
    DEFAULT: Graph(),
    "torchvision": Graph(IMAGENET_MEAN, epsilon=1e-5, pools_stem=True),
    "keras": Graph(
        _from_bytes(123.68, 116.779, 103.939),
        _from_bytes(1.0, 1.0, 1.0),
        is_bgr=True,
        epsilon=1.001e-5,
        pools_stem=True,
        strides_first=True,
    ),
    "detectron2": Graph(
        _from_bytes(123.675, 116.28, 103.53),
        _from_bytes(1.0, 1.0, 1.0),
        is_bgr=True,
        epsilon=1e-5,
        pools_stem=True,
        strides_first=True,
    ),
}
MOBILENETS: Mapping[str, Graph] = {
    DEFAULT: Graph(),
    "torchvision": Graph(IMAGENET_MEAN, epsilon=1e-3, gate="hard_sigmoid"),
    "keras": Graph(
        (0.5, 0.5, 0.5),
        (0.5, 0.5, 0.5),
        epsilon=1e-3,
        padding="same",
        gate="hard_sigmoid",
    ),
}


def graph_of(name: str, graphs: Mapping[str, Graph]) -> Graph:
    """Returns the graph called `name`.

    Args:
        name: A key of `graphs`.
        graphs: `RESNETS` or `MOBILENETS`.

    Raises:
        ValueError: There is no such graph.
    """
    if name not in graphs:
        raise ValueError(f"graph is {name!r} - known are {', '.join(graphs)}.")
    return graphs[name]
