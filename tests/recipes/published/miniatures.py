# SPDX-License-Identifier: Apache-2.0
"""Writes small folders with the names and codings of published data sets.

Each function draws its images from a seed and returns the label of each as the
data set's own coding has it. The labels have every oddity of the set.
"""

import json

import numpy as np
from PIL import Image

SIZE = (16, 32)


def save(path, pixels):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def save_photo(path, seed, size=SIZE):
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    return save(path, pixels)


def draw(numbers, seed, size=SIZE):
    """Draws rectangles of numbers over each other; the first is below."""
    random = np.random.default_rng(seed)
    drawn = np.full(size, numbers[0], np.int64)
    for number in numbers[1:]:
        top, left = (
            random.integers(0, size[0] - 4),
            random.integers(0, size[1] - 6),
        )
        height, width = random.integers(3, 8), random.integers(4, 12)
        drawn[top : top + height, left : left + width] = number
    # Each number is seen, in pixels of its own.
    drawn[-1, : len(numbers)] = numbers
    return drawn


# Void of all kinds, classes that are not scored, with and without instances,
# groups, instances from 0 and with gaps.
CITYSCAPES_NUMBERS = (
    7, 0, 1, 2, 3, 4, 5, 6, 8, 9, 11, 18, 23, 24, 26, 29, 33,
    24000, 24001, 24007, 25000, 26000, 26012, 29000, 30001, 31000, 33000,
)  # fmt: skip


def name_frame(city, number):
    return f"{city}_{number:06d}_000019"


def write_cityscapes(root, cities, split="train", *, kind="gtFine", seed=0):
    """Writes images and labels of a split.

    Args:
        root: Folder of the data set.
        cities: Number of images by city.
        split: The split.
        kind: gtFine or gtCoarse; "" for images only.
        seed: Another seed draws other images.

    Returns:
        The numbers of `*_instanceIds.png` by name.
    """
    labels = {}
    for city, count in cities.items():
        for number in range(count):
            seed += 1
            name = name_frame(city, number)
            place = root / "leftImg8bit" / split / city
            save_photo(place / f"{name}_leftImg8bit.png", seed)
            ids = draw(CITYSCAPES_NUMBERS, seed)
            labels[name] = ids
            if not kind:
                continue
            begin = root / kind / split / city / f"{name}_{kind}"
            classes = np.where(ids < 1000, ids, ids // 1000).astype(np.uint8)
            save(begin.with_name(f"{begin.name}_labelIds.png"), classes)
            save(
                begin.with_name(f"{begin.name}_instanceIds.png"),
                ids.astype(np.uint16),
            )
            save(
                begin.with_name(f"{begin.name}_color.png"),
                np.zeros((*SIZE, 4), np.uint8),
            )
            begin.with_name(f"{begin.name}_polygons.json").write_text(
                json.dumps(
                    {"imgHeight": SIZE[0], "imgWidth": SIZE[1], "objects": []}
                )
            )
    return labels


def encode(ids):
    """Returns R + 256 * G + 65536 * B as RGB: uint8 [H, W, 3]."""
    return np.stack(
        [ids % 256, ids // 256 % 256, ids // 65536], axis=-1
    ).astype(np.uint8)


def list_segments(ids, describe):
    """Lists the segments of a map; `describe` returns (category, crowd)."""
    segments = []
    for value in np.unique(ids).tolist():
        facts = describe(value)
        if facts is not None:
            segments.append(
                {
                    "id": value,
                    "category_id": facts[0],
                    "iscrowd": int(facts[1]),
                    "area": int((ids == value).sum()),
                    "bbox": [0, 0, 1, 1],
                }
            )
    return segments


def write_panoptic(folder, json_path, labels, categories, photos):
    """Writes a COCO-panoptic JSON and its PNGs.

    Args:
        folder: Folder of the PNGs.
        json_path: The file.
        labels: (ids [H, W], segments) by the name of the PNG.
        categories: The categories.
        photos: (id, file name) of the image by the name of the PNG.
    """
    images, annotations = [], []
    for name, (ids, segments) in labels.items():
        key, file_name = photos[name]
        save(folder / name, encode(ids))
        height, width = ids.shape
        images.append(
            {
                "id": key,
                "file_name": file_name,
                "height": height,
                "width": width,
            }
        )
        annotations.append(
            {"image_id": key, "file_name": name, "segments_info": segments}
        )
    json_path.parent.mkdir(parents=True, exist_ok=True)
    json_path.write_text(
        json.dumps(
            {
                "images": images,
                "annotations": annotations,
                "categories": categories,
            }
        )
    )


def write_cityscapes_json(root, labels, split, classes, *, by_index=False):
    """Writes what createPanopticImgs writes.

    Args:
        root: Folder of the data set.
        labels: Result of `write_cityscapes`.
        split: The split.
        classes: (id, name, is_thing) of the scored classes in their order.
        by_index: Whether categories are class indices (--use-train-id).
    """
    by_id = {one[0]: (place, one[2]) for place, one in enumerate(classes)}

    def describe(number):
        category = number if number < 1000 else number // 1000
        if category not in by_id:
            return None
        place, is_thing = by_id[category]
        return (
            place if by_index else category,
            is_thing and number < 1000,
        )

    written = {}
    for name, ids in labels.items():
        segments = list_segments(ids, describe)
        kept = np.isin(ids, [one["id"] for one in segments])
        written[f"{name}_gtFine_panoptic.png"] = (
            np.where(kept, ids, 0),
            segments,
        )
    base = f"cityscapes_panoptic_{split}{'_trainId' if by_index else ''}"
    write_panoptic(
        root / "gtFine" / base,
        root / "gtFine" / f"{base}.json",
        written,
        [
            {
                "id": place if by_index else key,
                "name": name,
                "isthing": int(is_thing),
            }
            for place, (key, name, is_thing) in enumerate(classes)
        ],
        {
            f"{name}_gtFine_panoptic.png": (
                name,
                f"{name}_gtFine_leftImg8bit.png",
            )
            for name in labels
        },
    )
