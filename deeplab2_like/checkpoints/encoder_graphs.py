# SPDX-License-Identifier: Apache-2.0
"""Whether a file's weights are for the graph that an encoder has.

Graphs of a network have the same variables; a value of one fits another, and
gives wrong results there. See `model.backbones.graphs`.
"""

from collections.abc import Mapping, Sequence

import keras
import numpy as np

from deeplab2_like import errors
from deeplab2_like.model.backbones import graphs
from deeplab2_like.model.backbones.mobilenet_v3 import MobileNetV3
from deeplab2_like.model.backbones.resnet import ResNet

_FIELD = "model_options.backbone.graph"


def find_graphs(
    backbone: keras.Model | None,
) -> Mapping[str, graphs.Graph] | None:
    """Returns the graphs that an encoder may have; None: it has no choice."""
    if isinstance(backbone, ResNet):
        return graphs.RESNETS
    if isinstance(backbone, MobileNetV3):
        return graphs.MOBILENETS
    return None


def check_graph(
    path: str, fitting: Sequence[str], backbone: keras.Model | None
) -> None:
    """Raises an error if an encoder has another graph than a file.

    Args:
        path: Path of the file, for the error.
        fitting: Names of the graphs that the file's weights may be for.
        backbone: Any encoder; None: a model without one.

    Raises:
        CheckpointError: It has another graph.
    """
    if backbone is None or find_graphs(backbone) is None:
        return
    own = backbone.graph
    if own in fitting:
        return
    shown = " or ".join(f'"{name}"' for name in fitting)
    raise errors.CheckpointError(
        f"The weights in {path} are for the graph {shown} of this encoder, "
        f'whose graph is "{own}": set {_FIELD} to {shown}.'
    )


def recognize_graph(
    offset: np.ndarray | None, backbone: keras.Model | None
) -> str | None:
    """Returns the graph of weights by the normalization of images in it.

    Args:
        offset: float32 [3], value of "normalize/offset"; None: there is none.
        backbone: An encoder of the same kind.

    Returns:
        Name of the graph; None if no graph has this normalization.
    """
    if offset is None:
        return graphs.DEFAULT
    for name, graph in (find_graphs(backbone) or {}).items():
        layer = graph.make_normalization("float32")
        if layer is None:
            continue
        if np.allclose(offset, layer.initial_offset, rtol=1e-5, atol=1e-6):
            return name
    return None
