# SPDX-License-Identifier: Apache-2.0
"""What is asked of the values in a file of another library."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import numpy as np

from deeplab2_like import errors
from deeplab2_like.checkpoints.foreign import layouts

# Blocks of the stage of stride 16 of each ResNet, and its name in configs.
_RESNETS = {6: "resnet50", 23: "resnet101"}
_WIDTH = 64


@dataclasses.dataclass(frozen=True)
class Origin:
    """Where the values of a layer of ours are in a file.

    Attributes:
        key: Key of the layer in the file.
        kind: Its kind, on which the layout of its arrays depends.
        arrange: Function of its weight and bias that brings their outputs into
            our order; None where they are in it.
        spread: Function of its weight alone, before its layout is changed;
            None where there is none.
    """

    key: str
    kind: layouts.LayerKind
    arrange: Callable[[np.ndarray], np.ndarray] | None = None
    spread: Callable[[np.ndarray], np.ndarray] | None = None


def refuse(path: str, what: str, fix: str) -> NoReturn:
    """Raises a `CheckpointError` of one sentence about a file."""
    raise errors.CheckpointError(f"{path} {what}: {fix}.")


class State:
    """The arrays of a file by key.

    Attributes:
        path: Path of the file, for errors.
        arrays: Array by key.
        title: Whose model it is, for errors.
    """

    def __init__(
        self, path: str, arrays: Mapping[str, np.ndarray], title: str
    ) -> None:
        """Wraps the arrays of a file; see the attributes."""
        self.path = path
        self.arrays = arrays
        self.title = title

    def read(self, key: str) -> np.ndarray:
        """Returns an array.

        Raises:
            CheckpointError: The file does not have it.
        """
        if key not in self.arrays:
            refuse(
                self.path,
                f"has no {key}, which {self.title} has",
                "give the whole file as it was published or saved",
            )
        return self.arrays[key]

    def size(self, key: str, axis: int = 0) -> int:
        """Returns the length of an axis of an array.

        Raises:
            CheckpointError: There is no such array or axis.
        """
        shape = self.read(key).shape
        if axis >= len(shape):
            refuse(
                self.path,
                f"has an array {key} of the shape {list(shape)}, which "
                f"{self.title} does not have",
                "give the file as it was published or saved",
            )
        return int(shape[axis])

    def count(self, pattern: str) -> int:
        """Counts the numbers 0, 1, ... that a pattern's group matches."""
        found = re.compile(pattern)
        matches = (found.match(key) for key in self.arrays)
        return len({int(match[1]) for match in matches if match})

    def find_resnet(self, stage: str, width_key: str) -> str:
        """Returns the name of the ResNet in configs.

        Args:
            stage: Pattern of the keys of the stage of stride 16, with a group
                for the number of the block.
            width_key: Key of the weight of the 3x3 convolution of the first
                block.

        Raises:
            CheckpointError: It is neither ResNet-50 nor ResNet-101.
        """
        number = self.count(stage)
        known = " and ".join(_RESNETS.values())
        fix = f"the backbones {known} are converted"
        if number not in _RESNETS:
            what = "has another backbone than a ResNet"
            if number:
                what = f"has a ResNet with {number} blocks at stride 16"
            refuse(self.path, what, fix)
        shape = self.read(width_key).shape
        if shape[:2] != (_WIDTH, _WIDTH):
            what = (
                f"has a ResNet with other widths or groups ({width_key} has "
                f"the shape {list(shape)})"
            )
            refuse(self.path, what, fix)
        return _RESNETS[number]


def take_outputs(
    order: Sequence[int | None],
    *,
    each: Sequence[int] = (0,),
    missing: float = 0.0,
) -> Callable[[np.ndarray], np.ndarray]:
    """Returns a function that orders the outputs of a layer.

    Args:
        order: For each item of ours the number of the item in the file; None
            for an item that the file does not have.
        each: An item has len(each) outputs, which become these of them.
        missing: Bias of an item that the file does not have; its weights are
            zeros.

    Returns:
        A function of arrays whose first axis are the outputs. It raises a
        `ValueError` where these are not the items of `order`.
    """
    present = sorted(index for index in order if index is not None)

    def arrange(value: np.ndarray) -> np.ndarray:
        items = value.reshape(-1, len(each), *value.shape[1:])[:, list(each)]
        if present != list(range(len(items))):
            raise ValueError(f"{len(items)} items, not {len(present)}")
        is_bias = value.ndim == 1
        nothing = np.full_like(items[:1], missing if is_bias else 0.0)
        padded = np.concatenate([items, nothing])
        taken = [len(items) if index is None else index for index in order]
        return padded[taken].reshape(-1, *value.shape[1:])

    return arrange
