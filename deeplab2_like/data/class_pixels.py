# SPDX-License-Identifier: Apache-2.0
"""Numbers of pixels by class in record files, counted once and kept.

Counts of whole files are stored in `class_pixels.json` in their folder. They
are taken from there as long as size and modification time of a file, and the
ids of the data set, are the same.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like.data import graph_errors, pipeline
from deeplab2_like.data.inspection.facts import ImageFacts
from deeplab2_like.data.records import decoding, tfds_features
from deeplab2_like.data.records import features as record_features
from deeplab2_like.data.records import files as record_files
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.storage import json_files

CACHE_FILE = "class_pixels.json"
_FORMAT = 1
_PNG_START = 16


@dataclasses.dataclass
class ClassPixels:
    """Numbers of pixels by class of some images; void does not count.

    Attributes:
        pixels: int64 [C], pixels of each class.
        image_pixels: int64 [C], pixels of the images in which it occurs.
        thing_image_pixels: Pixels of the images in which any thing occurs.
        num_images: Number of images.
    """

    pixels: npt.NDArray[np.int64]
    image_pixels: npt.NDArray[np.int64]
    thing_image_pixels: int = 0
    num_images: int = 0

    @classmethod
    def empty(cls, num_classes: int) -> "ClassPixels":
        """Returns the counts of no image."""
        return cls(np.zeros(num_classes, int), np.zeros(num_classes, int))

    def add_image(
        self, pixels_c: npt.NDArray[np.int64], thing_ids: Sequence[int]
    ) -> None:
        """Adds an image.

        Args:
            pixels_c: int64 [C], its pixels of each class, 0 for void.
            thing_ids: Classes with instances.
        """
        total = int(pixels_c.sum())
        self.pixels += pixels_c
        self.image_pixels += np.where(pixels_c > 0, total, 0)
        if pixels_c[list(thing_ids)].any():
            self.thing_image_pixels += total
        self.num_images += 1

    def add(self, other: "ClassPixels") -> None:
        """Adds the counts of other images."""
        self.pixels += other.pixels
        self.image_pixels += other.image_pixels
        self.thing_image_pixels += other.thing_image_pixels
        self.num_images += other.num_images

    def list_absent(self, descriptor: DatasetDescriptor) -> list[str]:
        """Lists the names of the classes without a pixel, except void."""
        return [
            descriptor.class_names[index]
            for index in range(descriptor.num_classes)
            if not self.pixels[index] and index != descriptor.ignore_label
        ]


def count_label(
    panoptic_hw: npt.NDArray[Any], descriptor: DatasetDescriptor
) -> npt.NDArray[np.int64]:
    """Counts the pixels of each class in one label: int64 [C], 0 for void.

    Args:
        panoptic_hw: Integers [H, W], class * label_divisor + instance.
        descriptor: The data set.
    """
    classes = panoptic_hw.reshape(-1) // descriptor.label_divisor
    counts = np.bincount(classes, minlength=descriptor.num_classes)
    counts = counts[: descriptor.num_classes].astype(np.int64)
    if descriptor.ignore_label < descriptor.num_classes:
        counts[descriptor.ignore_label] = 0
    return counts


def count_segments(
    facts: ImageFacts, descriptor: DatasetDescriptor
) -> npt.NDArray[np.int64]:
    """Counts the pixels of each class of an image: int64 [C], 0 for void.

    Args:
        facts: The image.
        descriptor: The data set.
    """
    counts = np.zeros(descriptor.num_classes, np.int64)
    if facts.classes is not None and facts.areas is not None:
        is_class = (facts.classes != descriptor.ignore_label) & (
            facts.classes < descriptor.num_classes
        )
        np.add.at(counts, facts.classes[is_class], facts.areas[is_class])
    return counts


def load_counts(
    paths: Sequence[str], descriptor: DatasetDescriptor
) -> ClassPixels | None:
    """Returns the counts of files if all of them were counted before.

    Args:
        paths: Paths of record files.
        descriptor: The data set.
    """
    known = _load_caches(paths, descriptor)
    if any(path not in known for path in paths):
        return None
    return _sum([known[path] for path in paths], descriptor)


def count_files(
    paths: Sequence[str],
    descriptor: DatasetDescriptor,
    *,
    skips_damage: bool = False,
    report_file: Callable[[int], None] | None = None,
) -> ClassPixels:
    """Counts the pixels of files, except of those counted before.

    Args:
        paths: Paths of record files.
        descriptor: The data set.
        skips_damage: Whether records that cannot be used are left out.
        report_file: Function that is called with the number of files done.

    Raises:
        errors.DataError: A record cannot be used.
    """
    known = _load_caches(paths, descriptor)
    new: dict[str, ClassPixels] = {}
    count_pixels = _make_counter(descriptor)
    for done, path in enumerate(paths):
        if path not in known:
            new[path] = _count_file(
                path, descriptor, count_pixels, skips_damage
            )
        if report_file is not None:
            report_file(done + 1)
    if new:
        store_counts(new, descriptor)
    return _sum([*known.values(), *new.values()], descriptor)


def _sum(
    parts: Sequence[ClassPixels], descriptor: DatasetDescriptor
) -> ClassPixels:
    total = ClassPixels.empty(descriptor.num_classes)
    for part in parts:
        total.add(part)
    return total


def _count_file(
    path: str,
    descriptor: DatasetDescriptor,
    count_pixels: Callable[[tf.Tensor], tf.Tensor],
    skips_damage: bool,
) -> ClassPixels:
    found = ClassPixels.empty(descriptor.num_classes)
    data = tf.data.TFRecordDataset(path)
    if skips_damage:
        data = data.take(len(record_files.scan_file(path).offsets))
    data = data.map(count_pixels, num_parallel_calls=tf.data.AUTOTUNE)
    if skips_damage:
        data = data.ignore_errors(log_warning=False)
    try:
        for counts in data.prefetch(tf.data.AUTOTUNE).as_numpy_iterator():
            found.add_image(counts.astype(np.int64), descriptor.thing_ids)
    except tf.errors.OpError as error:
        problem = graph_errors.as_data_error(error)
        if problem is None:
            raise
        raise problem from error
    return found


def _make_counter(
    descriptor: DatasetDescriptor,
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Makes the function from a record to its pixels by class, int32 [C]."""
    rules = pipeline.LabelRules.from_descriptor(descriptor)
    count = descriptor.num_classes

    # A function of its own, so that it is traced once for all files.
    @tf.function(
        input_signature=[tf.TensorSpec([], tf.string)], autograph=False
    )
    def count_pixels(serialized: tf.Tensor) -> tf.Tensor:
        parsed = record_features.parse_example(serialized)
        label = decoding.decode_label(
            parsed,
            _read_size(parsed),
            **dataclasses.asdict(rules),
            is_required=True,
        )
        category = tf.reshape(label // rules.label_divisor, [-1])
        category = tf.where(category == rules.ignore_label, count, category)
        # The values beyond `maxlength`, which are void, do not count.
        return tf.math.bincount(category, minlength=count, maxlength=count)

    return count_pixels


def _read_size(parsed: Mapping[str, tf.Tensor]) -> tf.Tensor:
    """Returns a size of as many pixels as the label has, without decoding."""

    def read_png() -> tf.Tensor:
        sides = tf.strings.substr(parsed["label"], _PNG_START, 8)
        width_height = tf.io.decode_raw(sides, tf.int32, little_endian=False)
        return tf.ensure_shape(width_height[::-1], [2])

    kind = parsed["label_format"]
    return tf.cond(
        (kind == "png") | tfds_features.is_kind(kind),
        read_png,
        lambda: tf.stack([1, tf.strings.length(parsed["label"]) // 4]),
    )


def store_counts(
    counts: Mapping[str, ClassPixels], descriptor: DatasetDescriptor
) -> None:
    """Stores the counts of whole files beside them, where that is possible.

    Args:
        counts: Counts by path of the file.
        descriptor: The data set.
    """
    folders: dict[str, dict[str, Any]] = {}
    for path, found in counts.items():
        key = _describe_file(path, descriptor)
        if key is not None:
            folder, name = os.path.split(path)
            folders.setdefault(folder, {})[name] = key | {
                "num_images": found.num_images,
                "pixels": found.pixels.tolist(),
                "image_pixels": found.image_pixels.tolist(),
                "thing_image_pixels": found.thing_image_pixels,
            }
    for folder, entries in folders.items():
        file = pathlib.Path(folder, CACHE_FILE)
        kept = {
            name: entry
            for name, entry in _load_cache(file).items()
            if os.path.exists(os.path.join(folder, name))
        }
        content = {"format": _FORMAT, "files": kept | entries}
        try:
            json_files.write_json(file, content)
        except OSError:
            continue  # For example a folder that only others may write to.


def _load_caches(
    paths: Sequence[str], descriptor: DatasetDescriptor
) -> dict[str, ClassPixels]:
    """Returns the counts that are stored, by path."""
    return dict(_find_stored(paths, descriptor))


def _find_stored(
    paths: Sequence[str], descriptor: DatasetDescriptor
) -> Iterator[tuple[str, ClassPixels]]:
    caches: dict[str, dict[str, Any]] = {}
    for path in paths:
        folder, name = os.path.split(path)
        if folder not in caches:
            caches[folder] = _load_cache(pathlib.Path(folder, CACHE_FILE))
        entry = caches[folder].get(name)
        if not isinstance(entry, dict):
            continue
        key = _describe_file(path, descriptor)
        if key is None or any(entry.get(k) != key[k] for k in key):
            continue
        try:
            found = ClassPixels(
                np.array(entry["pixels"], np.int64),
                np.array(entry["image_pixels"], np.int64),
                int(entry["thing_image_pixels"]),
                int(entry["num_images"]),
            )
        except (KeyError, TypeError, ValueError, OverflowError):
            continue  # Counted again.
        shape = (descriptor.num_classes,)
        if found.pixels.shape == found.image_pixels.shape == shape:
            yield path, found


def _load_cache(file: pathlib.Path) -> dict[str, Any]:
    """Returns the entries of a cache; {} for one that is missing or damaged."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        return {}
    entries = content.get("files")
    return entries if isinstance(entries, dict) else {}


def _describe_file(
    path: str, descriptor: DatasetDescriptor
) -> dict[str, Any] | None:
    """Returns what counts of a file depend on; None for a remote file."""
    if "://" in path:
        return None
    try:
        status = os.stat(path)
    except OSError:
        return None
    return {
        "bytes": status.st_size,
        "modified_ns": status.st_mtime_ns,
        "num_classes": descriptor.num_classes,
        "thing_ids": list(descriptor.thing_ids),
        "ignore_label": descriptor.ignore_label,
        "label_divisor": descriptor.label_divisor,
    }
