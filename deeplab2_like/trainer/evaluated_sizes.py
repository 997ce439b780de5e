# SPDX-License-Identifier: Apache-2.0
"""Notices images that an evaluation makes smaller than they are."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.config import sizes
from deeplab2_like.protos import config_pb2


@dataclasses.dataclass(frozen=True)
class SizeRules:
    """What decides about the size at which an image is evaluated.

    Attributes:
        crop_size: Height and width of the canvas.
        output_stride: Stride of the features.
        scale_factor: Factor that every image is scaled by first.
        has_limit: Whether the config itself limits the size, by
            `max_resize_value`.
        remainder: What the sides of the canvas are beyond a multiple.
    """

    crop_size: tuple[int, int]
    output_stride: int
    scale_factor: float = 1.0
    has_limit: bool = False
    remainder: int = 1

    @classmethod
    def from_options(cls, options: config_pb2.ExperimentOptions) -> "SizeRules":
        """Returns the rules of a valid config."""
        data = options.eval_dataset_options
        return cls(
            crop_size=(data.crop_size[0], data.crop_size[-1]),
            output_stride=options.model_options.backbone.output_stride,
            scale_factor=data.input_scale_factor,
            has_limit=any(data.max_resize_value),
            remainder=data.canvas_remainder,
        )


class EvaluatedSizes:
    """Counts images that were made smaller."""

    def __init__(self, rules: SizeRules):
        """Starts without images.

        Args:
            rules: Rules of the config.
        """
        self._rules = rules
        self._num_images = 0
        self._num_smaller = 0
        self._largest = (0, 0)
        # Name, original and evaluated size of the first one.
        self._example: tuple[str, tuple[int, int], tuple[int, int]] | None
        self._example = None

    def add(
        self, name: str, original: Sequence[int], evaluated: Sequence[int]
    ) -> None:
        """Adds an image.

        Args:
            name: Name of the image.
            original: Its height and width.
            evaluated: Height and width that it has on the canvas.
        """
        self._num_images += 1
        height, width = (int(n) for n in original)
        found = int(evaluated[0]), int(evaluated[1])
        factor = self._rules.scale_factor
        # Rounding may take a pixel.
        if found[0] >= factor * height - 1 and found[1] >= factor * width - 1:
            return
        self._num_smaller += 1
        self._largest = (
            max(self._largest[0], height),
            max(self._largest[1], width),
        )
        if self._example is None:
            self._example = name, (height, width), found

    def add_batch(self, batch: Mapping[str, Any]) -> None:
        """Adds the images of a batch of `data.pipeline`, as NumPy arrays."""
        for name, original, evaluated in zip(
            batch["name"],
            batch["original_size"],
            batch["valid_size"],
            strict=True,
        ):
            self.add(name.decode(), original, evaluated)

    def warnings(self) -> list[str]:
        """Returns a sentence if images were made smaller, else none."""
        if self._example is None:
            return []
        name, original, found = self._example
        rules = self._rules
        field = "max_resize_value" if rules.has_limit else "crop_size"
        text = (
            f"{self._num_smaller} of {self._num_images} images were evaluated "
            f"smaller than they are, as eval_dataset_options.{field} allows no "
            f"more, and their results enlarged: {name!r} of {_show(original)} "
            f"at {_show(found)} pixels. For full size "
        )
        if rules.has_limit:
            return [f"{text}remove max_resize_value, or raise it."]
        crop = [
            sizes.legal_canvas(
                max(round(side * rules.scale_factor), smallest),
                rules.output_stride,
                rules.remainder,
            )
            for side, smallest in zip(
                self._largest, rules.crop_size, strict=True
            )
        ]
        return [
            f"{text}set crop_size: {crop}, or pad_to_multiple_of: "
            f"{rules.output_stride}, with which crop_size is only the smallest "
            "canvas."
        ]


def _show(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
