# SPDX-License-Identifier: Apache-2.0
"""What a shard contains, as it is kept beside the shard while it is written."""

import dataclasses
import hashlib
import json
import os
import pathlib
from collections import Counter
from collections.abc import Sequence
from typing import Any, Self

import numpy as np

from deeplab2_like.data.class_pixels import ClassPixels
from deeplab2_like.data.coco.records import Summary
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.published.items import Item
from deeplab2_like.recipes.published.pool import LoadedImage
from deeplab2_like.storage import file_identity, json_files

# Changes when records of the same files become others.
_FORMAT = 1


@dataclasses.dataclass
class ShardCounts:
    """What is in a shard.

    Attributes:
        fingerprint: What the shard was made of; see `compute_fingerprint`.
        summary: Counts of its images.
        pixels: Pixels by class; None where images have no labels.
        sha256: Checksum of the file.
    """

    fingerprint: str
    summary: Summary
    pixels: ClassPixels | None
    sha256: str = ""

    @classmethod
    def empty(cls, fingerprint: str, num_classes: int) -> Self:
        """Returns the counts of no image."""
        return cls(fingerprint, Summary(), ClassPixels.empty(num_classes))

    def add(self, loaded: LoadedImage, descriptor: DatasetDescriptor) -> None:
        """Counts an image."""
        # The loading process has counted the pixels.
        rest = dataclasses.replace(loaded.sample, panoptic=None)
        self.summary.add(rest, descriptor.label_divisor)
        if loaded.pixels is None:
            self.pixels = None
            return
        present = np.flatnonzero(loaded.pixels)
        self.summary.pixels.update(
            dict(
                zip(
                    present.tolist(),
                    loaded.pixels[present].tolist(),
                    strict=True,
                )
            )
        )
        if self.pixels is not None:
            counts = np.zeros(descriptor.num_classes, np.int64)
            counts[: len(loaded.pixels)] = loaded.pixels[: len(counts)]
            if descriptor.ignore_label < len(counts):
                counts[descriptor.ignore_label] = 0
            self.pixels.add_image(counts, descriptor.thing_ids)

    def store(self, path: pathlib.Path) -> None:
        """Writes the counts, completely or not at all."""
        content = {
            "format": _FORMAT,
            "fingerprint": self.fingerprint,
            "sha256": self.sha256,
            "summary": vars(self.summary),
            "pixels": self.pixels and vars(self.pixels),
        }
        json_files.write_json(path, content)

    @classmethod
    def load(cls, path: pathlib.Path, fingerprint: str) -> Self | None:
        """Returns the counts of a shard; None unless it is of that kind."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if (content["format"], content["fingerprint"]) != (
                _FORMAT,
                fingerprint,
            ):
                return None
            return cls(
                fingerprint,
                _read_summary(content["summary"]),
                _read_pixels(content["pixels"]),
                str(content["sha256"]),
            )
        except (OSError, ValueError, KeyError, TypeError, RecursionError):
            return None  # It is written again.


def _read_summary(content: dict[str, Any]) -> Summary:
    summary = Summary(**content)
    for name in ("instances", "pixels"):
        counts = getattr(summary, name)
        setattr(
            summary, name, Counter({int(k): int(v) for k, v in counts.items()})
        )
    return summary


def _read_pixels(content: dict[str, Any] | None) -> ClassPixels | None:
    if content is None:
        return None
    return ClassPixels(
        np.array(content["pixels"], np.int64),
        np.array(content["image_pixels"], np.int64),
        int(content["thing_image_pixels"]),
        int(content["num_images"]),
    )


def add_up(parts: Sequence[ShardCounts], paths: Sequence[str]) -> Summary:
    """Returns the counts of all shards.

    Args:
        parts: Counts of each.
        paths: Their paths.
    """
    total = Summary(paths=list(paths))
    for part in parts:
        one = part.summary
        total.num_images += one.num_images
        total.num_converted += one.num_converted
        total.num_crowds += one.num_crowds
        total.num_other_areas += one.num_other_areas
        total.max_instances = max(total.max_instances, one.max_instances)
        total.instances.update(one.instances)
        total.pixels.update(one.pixels)
        total.notes += one.notes
    return total


def compute_fingerprint(
    items: Sequence[Item],
    name: str,
    descriptor: DatasetDescriptor,
    settings: str,
) -> str:
    """Computes what a shard depends on: its files by size and time.

    Args:
        items: Its images.
        name: Name of its file.
        descriptor: The data set.
        settings: Text of what else decides about the records.
    """
    digest = hashlib.sha256(
        f"{_FORMAT}\n{name}\n{settings}\n{descriptor}\n".encode()
    )
    for item in items:
        lines = [f"{item.sequence}/{item.name}"]
        for path in item.inputs:
            # Of one that is missing the loader says so.
            version = file_identity.describe(path).version
            lines.append(f"{os.path.basename(path)} {version}")
        digest.update("\n".join([*lines, ""]).encode("utf-8", "surrogatepass"))
    return digest.hexdigest()
