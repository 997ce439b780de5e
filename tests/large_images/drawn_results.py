# SPDX-License-Identifier: Apache-2.0
"""Small results as `predict_large` returns them, for tests of files."""

import numpy as np

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.large_images.result import LargeResult, Segments
from deeplab2_like.rasters.source import LargeImage, Place, Window
from deeplab2_like.storage import file_identity

DATASET = descriptor_lib.make(["ground"], ["cell", "dot"], name="drawn")


class ArrayMap:
    """A label map in memory that counts the rows that are read at once."""

    def __init__(self, ids_hw):
        self.ids_hw = ids_hw.astype(np.uint32)
        self.height, self.width = ids_hw.shape
        self.most_rows = 0

    def read(self, top, bottom):
        assert 0 <= top < bottom <= self.height
        self.most_rows = max(self.most_rows, bottom - top)
        return self.ids_hw[top:bottom].copy()


class ArrayImage(LargeImage):
    """An image in memory."""

    place = None

    def __init__(self, pixels_hw3, path, place=None):
        self.pixels_hw3 = pixels_hw3
        self.path = str(path)
        self.height, self.width = pixels_hw3.shape[:2]
        self.place = place or Place()

    def read(self, top, left, bottom, right):
        return Window(self.pixels_hw3[top:bottom, left:right].copy())

    def describe(self):
        return file_identity.describe(self.path)


def list_segments(ids_hw, stuff=()):
    """Makes the table of a label map; things have alternating classes."""
    ids = np.unique(ids_hw[ids_hw > 0])
    boxes = []
    for one in ids:
        y, x = np.nonzero(ids_hw == one)
        boxes.append([y.min(), x.min(), y.max() + 1, x.max() + 1])
    count = len(ids)
    is_thing = ~np.isin(ids, list(stuff))
    things = np.array(DATASET.thing_ids)[ids % 2]
    return Segments(
        id=ids.astype(np.uint32),
        category=np.where(is_thing, things, DATASET.stuff_ids[0]).astype(
            np.int32
        ),
        is_thing=is_thing,
        area=np.array([(ids_hw == one).sum() for one in ids], np.int64),
        bbox=np.array(boxes, np.int64).reshape(count, 4),
        score=np.linspace(0.5, 1, count, dtype=np.float32),
    )


def draw(height, width, count=30, seed=0):
    """Draws discs on stuff (id 1) with void (0) in between: int64 [H, W]."""
    random = np.random.default_rng(seed)
    ids_hw = np.zeros((height, width), np.int64)
    ids_hw[height // 3 :] = 1
    y, x = np.mgrid[:height, :width]
    for number in range(count):
        cy, cx = random.uniform(0, height), random.uniform(0, width)
        radius = random.uniform(2, min(height, width) / 5)
        distance = (y - cy) ** 2 + (x - cx) ** 2
        ids_hw[distance < radius**2] = number + 2
        ids_hw[distance < radius**2 / 9] = 0
    return ids_hw


def make_result(ids_hw, stuff=(1,)):
    """Makes the result of a label map."""
    return LargeResult(ArrayMap(ids_hw), list_segments(ids_hw, stuff))
