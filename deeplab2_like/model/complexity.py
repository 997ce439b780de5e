# SPDX-License-Identifier: Apache-2.0
"""Size of a network: parameters, and multiply-adds of one image.

The network is traced into a graph of its own, in which variables have no
values, so that one of 500 million parameters needs little memory and time.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import keras
import tensorflow as tf

# Operations that call functions.
_CALLS = frozenset(
    {
        "If",
        "PartitionedCall",
        "StatefulPartitionedCall",
        "StatelessIf",
        "StatelessWhile",
        "While",
    }
)


@dataclasses.dataclass(frozen=True)
class Complexity:
    """The size of a network.

    Attributes:
        num_parameters: Number of scalars of all variables, moving
            statistics included.
        num_variables: Number of variables.
        num_backbone_parameters: Number of scalars of `model.backbone`; 0
            where there is none.
        multiply_adds: Multiply-adds of the convolutions, dense layers and
            matrix products of one image in inference. Resizing, normalization
            and activations are not counted.
    """

    num_parameters: int
    num_variables: int
    num_backbone_parameters: int
    multiply_adds: int


def compute_complexity(
    build_model: Callable[[], keras.Model], image_size: Sequence[int]
) -> Complexity:
    """Computes the size of a network without making its weights.

    Args:
        build_model: Function that returns a built model of images [B, H, W, 3].
        image_size: Height and width in pixels.

    Raises:
        ValueError: The model calls a function; see `count_multiply_adds`.
    """
    height, width = image_size
    graph = tf.Graph()
    with graph.as_default():
        model = build_model()
        before = len(graph.get_operations())
        images = tf.zeros([1, height, width, 3], tf.float32)
        model(images, training=False)
    # Building may compute as well, such as initial values.
    operations = graph.get_operations()[before:]
    backbone = getattr(model, "backbone", None)
    return Complexity(
        num_parameters=_count_parameters(model),
        num_variables=len(model.variables),
        num_backbone_parameters=_count_parameters(backbone) if backbone else 0,
        multiply_adds=sum(count_multiply_adds(op) for op in operations),
    )


def _count_parameters(model: keras.Model) -> int:
    return sum(math.prod(variable.shape) for variable in model.variables)


def count_multiply_adds(operation: tf.Operation) -> int:
    """Counts the multiply-adds of an operation with static shapes.

    Args:
        operation: Any operation of a graph.

    Raises:
        ValueError: It calls a function that contains operations to be
            counted, and may run them several times.
    """
    if operation.type in _CALLS:
        hidden = _list_hidden(operation) & set(_COUNTERS)
        if hidden:
            raise ValueError(
                f"{operation.name} is a call ({operation.type}) - the "
                f"operations inside ({', '.join(sorted(hidden))}) cannot be "
                "counted - build the model without it."
            )
        return 0
    count = _COUNTERS.get(operation.type)
    return count(operation) if count else 0


def _list_hidden(operation: tf.Operation) -> set[str]:
    """Returns the types of all operations in the functions of a call."""
    library = operation.graph.as_graph_def().library.function
    nodes = {f.signature.name: f.node_def for f in library}
    waiting = _list_called(operation.node_def)
    seen: set[str] = set()
    types: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        for node in nodes[name]:
            types.add(node.op)
            waiting += _list_called(node)
    return types


def _list_called(node) -> list[str]:
    """Returns the names of the functions that a node of a graph calls."""
    named = [value.func.name for value in node.attr.values()]
    listed = [f.name for v in node.attr.values() for f in v.list.func]
    return [name for name in named + listed if name]


def _count_convolution(operation: tf.Operation) -> int:
    """Counts a convolution: output values times window times channels."""
    kernel = operation.inputs[1].shape
    return math.prod(operation.outputs[0].shape) * math.prod(kernel[:3])


def _count_depthwise(operation: tf.Operation) -> int:
    """Counts a depthwise convolution: output values times window."""
    outputs = operation.outputs[0]
    for consumer in outputs.consumers():
        # Dilation on CPU: the rearranged map has rows that are cut off again.
        if consumer.type == "BatchToSpaceND":
            outputs = consumer.outputs[0]
    return math.prod(outputs.shape) * math.prod(operation.inputs[1].shape[:2])


def _count_matrix_product(operation: tf.Operation) -> int:
    """Counts a matrix product: output values times the shared axis."""
    first = operation.inputs[0].shape
    names = {"MatMul": "transpose_a"}
    is_transposed = operation.get_attr(names.get(operation.type, "adj_x"))
    shared = first[-2] if is_transposed else first[-1]
    return math.prod(operation.outputs[0].shape) * shared


def _count_einsum(operation: tf.Operation) -> int:
    """Counts an einsum: one for each combination of all indices."""
    equation = operation.get_attr("equation").decode()
    sizes: dict[str, int] = {}
    subscripts = equation.split("->")[0].split(",")
    if len(subscripts) < 2:
        return 0  # A transposition or a sum.
    for labels, tensor in zip(subscripts, operation.inputs, strict=True):
        sizes |= zip(labels, tensor.shape, strict=True)
    return math.prod(sizes.values())


_COUNTERS: Mapping[str, Callable[[tf.Operation], int]] = {
    "BatchMatMul": _count_matrix_product,
    "BatchMatMulV2": _count_matrix_product,
    "Conv2D": _count_convolution,
    "DepthwiseConv2dNative": _count_depthwise,
    "Einsum": _count_einsum,
    "MatMul": _count_matrix_product,
}
