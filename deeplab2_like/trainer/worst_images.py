# SPDX-License-Identifier: Apache-2.0
"""Keeps the pictures of the images of the lowest scores of an evaluation."""

import heapq
import math
from collections.abc import Iterator

import numpy as np
from PIL import Image

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import palette
from deeplab2_like.reports.report import Picture
from deeplab2_like.results import original_size
from deeplab2_like.visualize import page_pictures, visualizer

NUM_IMAGES = 12

Color = tuple[int, int, int]


class WorstImages:
    """Pictures of the worst images so far; no more than those are kept."""

    def __init__(
        self,
        descriptor: descriptor_lib.DatasetDescriptor,
        num_images: int = NUM_IMAGES,
    ):
        """Starts without images.

        Args:
            descriptor: The data set, for classes and colors.
            num_images: Images that are kept.
        """
        self._descriptor = descriptor
        self._num_images = num_images
        self._number = 0
        # The best image that is kept is the first one: (-score, -number, ...),
        # with name, pictures and colors.
        self._kept: list[
            tuple[float, int, str, list[Picture], dict[str, Color]]
        ] = []

    def add(self, image: original_size.RestoredImage, score: float) -> None:
        """Adds an image, which is drawn if it is among the worst.

        Args:
            image: The restored image.
            score: Lower is worse; an image without a score, NaN, is passed
                over. Of equal ones the first is kept.
        """
        self._number += 1
        if math.isnan(score):
            return
        is_full = len(self._kept) >= self._num_images
        if is_full and score >= -self._kept[0][0]:
            return
        entry = (-score, -self._number, image.name, *self._draw(image))
        if is_full:
            heapq.heapreplace(self._kept, entry)
        else:
            heapq.heappush(self._kept, entry)

    def _draw(
        self, image: original_size.RestoredImage
    ) -> tuple[list[Picture], dict[str, Color]]:
        """Draws the pictures of an image, and lists their colors."""
        true, predicted = image.true_panoptic, image.panoptic
        if predicted is None:
            divisor = self._descriptor.label_divisor
            predicted = image.semantic * divisor
            true = true // divisor * divisor
        pixels = image.image
        if pixels.shape[:2] != true.shape:
            resized = Image.fromarray(pixels).resize(
                true.shape[::-1], Image.Resampling.BILINEAR
            )
            pixels = np.asarray(resized)
        panels, entries = visualizer.draw_panels(
            pixels,
            true,
            predicted,
            self._descriptor,
            panel_size=page_pictures.PANEL_SIZE,
        )
        pictures = [
            page_pictures.encode(title, picture) for title, picture in panels
        ]
        return pictures, {
            entry.name: entry.color
            for entry in entries
            if entry.color is not None
        }

    def __iter__(self) -> Iterator[tuple[str, list[Picture]]]:
        """Yields name and pictures of each image, the worst first."""
        for entry in sorted(self._kept, reverse=True, key=lambda e: e[:2]):
            yield entry[2], entry[3]

    def list_colors(self) -> list[tuple[str, Color]]:
        """Lists name and color of the classes and errors in the pictures."""
        found: dict[str, Color] = {"void": palette.VOID} if self._kept else {}
        for entry in self._kept:
            found |= entry[4]
        names = self._descriptor.class_names
        order = {name: index for index, name in enumerate(names)}
        return sorted(
            found.items(), key=lambda item: order.get(item[0], len(names))
        )
