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


def save_jpeg(path, seed, size=SIZE, *, grey=False, orientation=1):
    """Saves a photo as JPEG, perhaps grey or with an EXIF orientation."""
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), np.uint8)
    image = Image.fromarray(pixels[..., 0] if grey else pixels)
    exif = Image.Exif()
    if orientation != 1:
        exif[0x0112] = orientation
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=92, exif=exif)


# (category, is crowd) of the segments of an image: crowds, several instances of
# a class, ids of categories with gaps (26 does not exist), stuff.
COCO_SEGMENTS = (
    (184, False), (1, False), (1, False), (1, True), (27, False), (90, False),
    (92, False), (200, False), (3, True), (3, False),
)  # fmt: skip


def write_coco(root, split, count, descriptor, *, seed=0):
    """Writes images, JSON and PNGs of a split of COCO 2017.

    The PNGs are beside the JSON, ids are large, other than those of other
    images or the same, and some pixels have none. Images are grey or have an
    orientation that is not to be applied.

    Returns:
        (ids [H, W], segments) by name.
    """
    labels = {}
    for number in range(count):
        seed += 1
        name = f"{number * 139 + 9:012d}"
        size = (SIZE[0], SIZE[0] + 16 * (number % 2))
        save_jpeg(
            root / f"{split}2017" / f"{name}.jpg",
            seed,
            size,
            grey=number == 1,
            orientation=3 if number == 2 else 1,
        )
        numbers = [70_000 * (1 + i) + seed for i in range(len(COCO_SEGMENTS))]
        ids = draw([0, *numbers], seed, size)
        kinds = dict(zip(numbers, COCO_SEGMENTS, strict=True))
        labels[name] = (ids, list_segments(ids, kinds.get))
    write_panoptic(
        root / "annotations" / f"panoptic_{split}2017",
        root / "annotations" / f"panoptic_{split}2017.json",
        {f"{name}.png": label for name, label in labels.items()},
        [
            {
                "id": descriptor.category_ids[i],
                "name": descriptor.class_names[i],
                "isthing": int(descriptor.is_thing(i)),
                "supercategory": "any",
            }
            for i in range(1, descriptor.num_classes)
        ],
        {f"{name}.png": (int(name), f"{name}.jpg") for name in labels},
    )
    return labels


# Classes of ADEChallengeData2016, from 1: stuff, things; 0 is none of them.
ADE_CLASSES = (1, 3, 7, 13, 21, 0, 150, 4)
# (instance class, semantic class) of instances 1, 2, ...
ADE_INSTANCES = ((4, 13), (4, 13), (9, 21), (100, 150), (5, 15))


def write_ade20k(root, split, count, *, seed=0):
    """Writes images and label images; returns both labels by name.

    Instances cover stuff, leave pixels of things without an instance, and hide
    a class of stuff in one image.
    """
    place = {"train": "training", "val": "validation"}[split]
    labels = {}
    for number in range(1, count + 1):
        seed += 1
        name = f"ADE_{split}_{number:08d}"
        save_jpeg(root / "images" / place / f"{name}.jpg", seed)
        classes = draw(ADE_CLASSES, seed)
        numbers = draw(range(len(ADE_INSTANCES) + 1), seed + 1000)
        if number == 1:
            numbers[classes == 4] = 5  # Nothing of class 4 is seen.
        kinds = np.array([0, *(kind for kind, _ in ADE_INSTANCES)])
        coded = np.zeros((*SIZE, 3), np.uint8)
        coded[..., 0] = kinds[numbers]
        coded[..., 1] = numbers
        save(
            root / "annotations" / place / f"{name}.png",
            classes.astype(np.uint8),
        )
        save(root / "annotations_instance" / place / f"{name}.png", coded)
        labels[name] = classes, numbers
    return labels


def write_ade20k_json(root, split, labels, things):
    """Writes what Mask2Former's prepare_ade20k_pan_seg.py writes.

    Stuff is drawn and listed first, things over it, so that a listed segment
    may have no pixel and another area.
    """
    written, photos = {}, {}
    for name, (classes, numbers) in labels.items():
        ids = np.zeros(SIZE, np.int64)
        segments = []
        stuff = [
            c for c in np.unique(classes).tolist() if c and c not in things
        ]
        for place, c in enumerate(stuff):
            mask = classes == c
            ids[mask] = 9000 + 7 * place
            segments.append((9000 + 7 * place, c - 1, mask.sum()))
        for n in np.unique(numbers).tolist():
            if n:
                mask = numbers == n
                ids[mask] = 99_000 + 13 * n
                category = ADE_INSTANCES[n - 1][1] - 1
                segments.append((99_000 + 13 * n, category, mask.sum()))
        written[f"{name}.png"] = (
            ids,
            [
                {
                    "id": key,
                    "category_id": category,
                    "area": int(area),
                    "iscrowd": 0,
                    "bbox": [0, 0, 1, 1],
                }
                for key, category, area in segments
            ],
        )
        photos[f"{name}.png"] = (name, f"{name}.jpg")
    write_panoptic(
        root / f"ade20k_panoptic_{split}",
        root / f"ade20k_panoptic_{split}.json",
        written,
        [
            {"id": c - 1, "name": f"class {c}", "isthing": int(c in things)}
            for c in range(1, 151)
        ],
        photos,
    )


# A short list of labels in the form of config_v2.0.json.
VISTAS_LABELS = [
    {
        "name": name,
        "readable": readable,
        "color": color,
        "instances": instances,
        "evaluate": evaluate,
    }
    for name, readable, color, instances, evaluate in (
        ("animal--bird", "Bird", [165, 42, 42], True, True),
        ("construction--flat--road", "Road", [128, 64, 128], False, True),
        ("human--person--individual", "Person", [220, 20, 60], True, True),
        ("human--person--person-group", "Person Group", [0, 0, 9], True, False),
        ("nature--sky", "Sky", [70, 130, 180], False, True),
        ("void--unlabeled", "Unlabeled", [0, 0, 0], False, False),
    )
]
_VISTAS_PLACES = {"train": "training", "val": "validation", "test": "testing"}


def write_vistas(root, split, count, version, labels, *, old=False, seed=0):
    """Writes images and instance images, in the new or the old folders.

    Args:
        root: Folder of the data set.
        split: The split.
        count: Number of images.
        version: "1.2" or "2.0".
        labels: The numbers, 256 * label + instance, that occur.
        old: Whether the folders are those of the older archives.
        seed: Another seed draws other images.

    Returns:
        The numbers by name.
    """
    place = root / _VISTAS_PLACES[split]
    inner = place if old else place / f"v{version}"
    numbers = {}
    for number in range(count):
        seed += 1
        name = f"image_{number}"
        save_jpeg(place / "images" / f"{name}.jpg", seed)
        numbers[name] = draw(labels, seed)
        coded = numbers[name].astype(np.uint16)
        save(inner / "instances" / f"{name}.png", coded)
        save(inner / "labels" / f"{name}.png", (coded // 256).astype(np.uint8))
    root.joinpath(f"config_v{version}.json").write_text(
        json.dumps({"version": version, "labels": VISTAS_LABELS})
    )
    return numbers


def write_vistas_json(root, split, version, numbers, things, *, old=False):
    """Writes the panoptic JSON and PNGs; ids repeat from image to image."""
    place = root / _VISTAS_PLACES[split]
    folder = (place if old else place / f"v{version}") / "panoptic"
    written = {
        f"{name}.png": (
            ids + 1,
            list_segments(ids + 1, lambda v: ((v - 1) // 256 + 1, False)),
        )
        for name, ids in numbers.items()
    }
    year = "2018" if version == "1.2" else "2020"
    write_panoptic(
        folder,
        folder / f"panoptic_{year}.json",
        written,
        [
            {"id": c, "name": f"class {c}", "isthing": int(c in things)}
            for c in range(1, 67)
        ],
        {f"{name}.png": (name, f"{name}.jpg") for name in numbers},
    )


def write_step(root, split, sequences, codes, *, kitti=False, ending=".png"):
    """Writes frames and panoptic maps of videos.

    Args:
        root: Folder of the data set.
        split: The split.
        sequences: Number of frames by sequence.
        codes: (class, track) that occur.
        kitti: Whether images are in KITTI's own folders.
        ending: Ending of the images.

    Returns:
        class * 1000 + track by "sequence/frame".
    """
    labels = {}
    for sequence, count in sequences.items():
        for number in range(count):
            seed = 100 * int(sequence) + number
            frame = f"{number:06d}"
            place = root / "images" / split
            if kitti:
                place = root / "training" / "image_02"
            path = place / sequence / f"{frame}{ending}"
            (save_photo if ending == ".png" else save_jpeg)(path, seed)
            drawn = draw(range(len(codes)), seed)
            classes = np.array([one[0] for one in codes])[drawn]
            tracks = np.array([one[1] for one in codes])[drawn]
            coded = np.stack([classes, tracks // 256, tracks % 256], axis=-1)
            save(
                root / "panoptic_maps" / split / sequence / f"{frame}.png",
                coded.astype(np.uint8),
            )
            labels[f"{sequence}/{frame}"] = classes * 1000 + tracks
    return labels


# (class, attributes, number): void, stuff in two objects, ignored stuff, things
# that are single, ignored, crowds, occluded, with a high number; class 0.
BDD_OBJECTS = (
    (0, 0, 0), (7, 0, 1), (7, 0, 2), (30, 1, 3), (35, 0, 4), (35, 1, 5),
    (35, 2, 6), (31, 4, 7), (31, 8, 700), (40, 12, 9), (0, 3, 10), (29, 0, 11),
)  # fmt: skip


def write_bdd100k(root, split, count, *, seed=0):
    """Writes images and bitmasks; returns the places in `BDD_OBJECTS`."""
    labels = {}
    for number in range(count):
        seed += 1
        name = f"{number:08x}-{seed:08x}"
        save_jpeg(root / "images" / "10k" / split / f"{name}.jpg", seed)
        labels[name] = draw(range(len(BDD_OBJECTS)), seed)
        kinds, attributes, numbers = np.array(BDD_OBJECTS).T
        coded = np.stack(
            [kinds, attributes, numbers // 256, numbers % 256], axis=-1
        ).astype(np.uint8)
        save(
            root / "labels" / "pan_seg" / "bitmasks" / split / f"{name}.png",
            coded[labels[name]],
        )
    return labels
