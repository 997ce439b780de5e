# SPDX-License-Identifier: Apache-2.0
"""TensorFlow's object graph: from attribute names to the keys of a checkpoint.

A checkpoint of `tf.train.Checkpoint` contains, besides the tensors, the graph
of the objects that they belonged to. Restoring follows the names of its edges,
as `ObjectGraph` does: a tensor's key is only *one* of the paths to its object,
and which one depends on what else was saved (an optimizer, for example).

`make_checkpoint` makes such objects from plain paths, for writing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from google.protobuf.message import DecodeError

from deeplab2_like import errors

# Neither is public. Where they are gone, nothing fails that does without.
try:
    from tensorflow.core.protobuf import trackable_object_graph_pb2
except ImportError:
    trackable_object_graph_pb2 = None
_Trackable: Any
try:
    _Trackable = tf.__internal__.tracking.AutoTrackable
except AttributeError:
    _Trackable = tf.Module

GRAPH_KEY = "_CHECKPOINTABLE_OBJECT_GRAPH"
SUFFIX = "/.ATTRIBUTES/VARIABLE_VALUE"
_ATTRIBUTE = "VARIABLE_VALUE"
# Keras 3 wraps its variables in an object of their own.
_WRAPPED = "_value"


class ObjectGraph:
    """The object graph of a checkpoint."""

    def __init__(self, serialized: bytes) -> None:
        """Reads a graph.

        Args:
            serialized: The value under `GRAPH_KEY`.

        Raises:
            ValueError: It is not an object graph.
            InstallError: This TensorFlow has no code to parse it.
        """
        if trackable_object_graph_pb2 is None:
            raise errors.InstallError(
                "Checkpoints of objects, such as those of deeplab2, cannot be "
                f"read with TensorFlow {tf.__version__}, which has no "
                "`tensorflow.core.protobuf.trackable_object_graph_pb2`. "
                "Install TensorFlow 2.21."
            )
        graph = trackable_object_graph_pb2.TrackableObjectGraph()
        try:
            graph.ParseFromString(serialized)
        except DecodeError as error:
            raise ValueError("the object graph cannot be parsed") from error
        if not graph.nodes:
            raise ValueError("the object graph is empty")
        self._children = [
            {child.local_name: child.node_id for child in node.children}
            for node in graph.nodes
        ]
        self._keys = [
            {a.name: a.checkpoint_key for a in node.attributes}
            for node in graph.nodes
        ]

    def children(self, path: str = "") -> list[str]:
        """Lists the attributes of the object at `path` ("" is the root)."""
        node = self._find(path)
        return [] if node is None else sorted(self._children[node])

    def key_of(self, path: str | Sequence[str]) -> str | None:
        """Returns the key of the variable at `path`; None if there is none.

        Args:
            path: Attribute names from the root on, or joined by "/", such as
                "encoder/_stem/_conv/kernel".
        """
        node = self._find(path)
        if node is None:
            return None
        key = self._keys[node].get(_ATTRIBUTE)
        wrapped = self._children[node].get(_WRAPPED)
        if key is None and wrapped is not None:
            key = self._keys[wrapped].get(_ATTRIBUTE)
        return key

    def _find(self, path: str | Sequence[str]) -> int | None:
        node = 0
        if isinstance(path, str):
            path = path.split("/") if path else []
        for name in path:
            found = self._children[node].get(name)
            if found is None:
                return None
            node = found
        return node


def readable_name(key: str) -> str:
    """Returns a checkpoint's key without suffix and escapes.

    TensorFlow writes "/" of a name as ".S" and "." as "..".
    """
    key = key.removesuffix(SUFFIX)
    return re.sub(r"\.(S|\.)", lambda m: "/" if m[1] == "S" else ".", key)


class _Object(_Trackable):
    """Tracks its attributes; tf.Module has further ones of its own."""


def make_checkpoint(
    values: Mapping[tuple[str, ...], np.ndarray],
) -> tf.train.Checkpoint:
    """Makes a checkpoint of objects whose attributes lead to variables.

    Args:
        values: Value by attribute names from the root on.

    Returns:
        The checkpoint to write: `make_checkpoint(...).write(prefix)`.
    """
    objects: dict[tuple[str, ...], _Object] = {(): _Object()}
    items: dict[str, object] = {}
    for path, value in values.items():
        variable = tf.Variable(value, trainable=False)
        for depth in range(1, len(path)):
            where = path[:depth]
            if where not in objects:
                objects[where] = _Object()
                setattr(objects[where[:-1]], where[-1], objects[where])
        setattr(objects[path[:-1]], path[-1], variable)
        items[path[0]] = getattr(objects[()], path[0])
    counter = items.pop("save_counter", None)
    checkpoint = tf.train.Checkpoint(**items)
    if counter is not None:  # Every tf.train.Checkpoint has its own.
        checkpoint.save_counter.assign(counter)
    return checkpoint
