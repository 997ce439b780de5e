# SPDX-License-Identifier: Apache-2.0
r"""Time from own labels to checked records, for each form of labels.

    python benchmarks/own_forms.py

draws 40 images of 480 x 640 pixels with labels, writes them in each of the
eight forms of docs/label_forms.md, runs `deeplab2-prepare --write` on each
folder, and prints the wall time. The records are then read by
deeplab2-check-data, which is timed apart: `deeplab2-prepare` has checked all
that it wrote.
"""

import dataclasses
import json
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
from absl import flags
from PIL import Image

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import many_images  # noqa: E402
from deeplab2_like.console import program  # noqa: E402
from deeplab2_like.scenes import scene as scene_lib  # noqa: E402

_SIZE = (480, 640)
_NAMES = scene_lib.CLASS_NAMES
_THINGS = [_NAMES[index] for index in scene_lib.THING_IDS]
_STUFF = [name for name in _NAMES if name not in _THINGS]
_THING_FLAG = f"--things={','.join(_THINGS)}"
# Of each class; 0 is what has no label.
_COLORS = np.array(
    [(0, 0, 0)] + [(25 * i + 9, 99, 250 - 25 * i) for i in range(len(_NAMES))],
    np.uint8,
)

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()
_IMAGES = flags.DEFINE_integer(
    "images", 40, "Number of images.", lower_bound=2, flag_values=_FLAGS
)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """An image and its label.

    Attributes:
        name: Name without ending.
        image: uint8 [H, W, 3].
        classes: int64 [H, W], number of the class from 1, 0 for void.
        objects: int64 [H, W], number of the object in the image from 1, 0 for
            what is not counted.
    """

    name: str
    image: np.ndarray
    classes: np.ndarray
    objects: np.ndarray

    def list_objects(self) -> Iterator[tuple[int, np.ndarray]]:
        """Yields class number and mask, bool [H, W], of each object."""
        for number in range(1, int(self.objects.max()) + 1):
            mask_hw = self.objects == number
            yield int(self.classes[mask_hw][0]), mask_hw


def draw(number: int) -> Drawn:
    """Draws an image with its label.

    Args:
        number: Number of the image; another one gives another scene.
    """
    scene = scene_lib.make_scene(number, _SIZE)
    classes, instances = np.divmod(scene.panoptic, scene_lib.LABEL_DIVISOR)
    is_void = classes == scene_lib.IGNORE_LABEL
    is_thing = np.isin(classes, scene_lib.THING_IDS)
    # Crowds, which most forms do not have, are void.
    is_void |= is_thing & (instances == 0)
    labels = np.where(is_thing & ~is_void, scene.panoptic, -1)
    _, objects = np.unique(np.append(labels, -1), return_inverse=True)
    return Drawn(
        f"s{number:04d}",
        scene.image,
        np.where(is_void, 0, classes + 1),
        objects[:-1].reshape(labels.shape),
    )


def trace(mask_hw: np.ndarray) -> list[tuple[int, int]]:
    """Returns a polygon around a mask: its left edge down, its right edge up.

    Args:
        mask_hw: bool [H, W], with a pixel at least.

    Returns:
        Corners (x, y); what lies between the edges of a row is inside.
    """
    rows = np.flatnonzero(mask_hw.any(axis=1))
    left = mask_hw[rows].argmax(axis=1)
    right = mask_hw.shape[1] - mask_hw[rows, ::-1].argmax(axis=1)
    down = [(x, y + d) for x, y in zip(left, rows, strict=True) for d in (0, 1)]
    up = [(x, y + d) for x, y in zip(right, rows, strict=True) for d in (0, 1)]
    return [(int(x), int(y)) for x, y in down + up[::-1]]


def _save(path: pathlib.Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _save_images(folder: pathlib.Path, drawn: Sequence[Drawn]) -> None:
    for one in drawn:
        _save(folder / f"{one.name}.png", one.image)


def _write_json(path: pathlib.Path, content: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content), encoding="utf-8")


def _write_names(folder: pathlib.Path) -> str:
    path = folder / "classes.txt"
    lines = ["0: void", *(f"{i}: {n}" for i, n in enumerate(_NAMES, 1))]
    path.write_text("\n".join(lines), encoding="utf-8")
    return f"--classes={path}"


def _list_images(drawn: Sequence[Drawn]) -> list[dict[str, object]]:
    height, width = _SIZE
    return [
        {
            "id": number,
            "file_name": f"{one.name}.png",
            "height": height,
            "width": width,
        }
        for number, one in enumerate(drawn)
    ]


def _write_coco_panoptic(data: pathlib.Path, drawn: Sequence[Drawn]) -> None:
    _save_images(data / "images", drawn)
    annotations = []
    for number, one in enumerate(drawn):
        keys_hw = np.where(one.classes, one.classes * 1000 + one.objects, 0)
        rgb = np.stack([keys_hw % 256, keys_hw // 256, 0 * keys_hw], -1)
        _save(data / "masks" / f"{one.name}.png", rgb.astype(np.uint8))
        segments = [
            {
                "id": int(key),
                "category_id": int(key) // 1000,
                "area": int(area),
                "iscrowd": 0,
            }
            for key, area in zip(
                *np.unique(keys_hw[keys_hw > 0], return_counts=True),
                strict=True,
            )
        ]
        annotations.append(
            {
                "image_id": number,
                "file_name": f"{one.name}.png",
                "segments_info": segments,
            }
        )
    categories = [
        {"id": i, "name": name, "isthing": int(name in _THINGS)}
        for i, name in enumerate(_NAMES, 1)
    ]
    _write_json(
        data / "labels.json",
        {
            "images": _list_images(drawn),
            "annotations": annotations,
            "categories": categories,
        },
    )


def _write_coco_instances(data: pathlib.Path, drawn: Sequence[Drawn]) -> None:
    _save_images(data / "images", drawn)
    annotations = []
    for number, one in enumerate(drawn):
        for category, mask_hw in one.list_objects():
            flat = [float(value) for xy in trace(mask_hw) for value in xy]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "segmentation": [flat],
                    "iscrowd": 0,
                }
            )
    categories = [
        {"id": i, "name": name}
        for i, name in enumerate(_NAMES, 1)
        if name in _THINGS
    ]
    _write_json(
        data / "labels.json",
        {
            "images": _list_images(drawn),
            "annotations": annotations,
            "categories": categories,
        },
    )


def _write_class_images(folder: pathlib.Path, drawn: Sequence[Drawn]) -> None:
    for one in drawn:
        _save(folder / f"{one.name}.png", one.classes.astype(np.uint8))


def _write_coco_and_classes(data: pathlib.Path, drawn: Sequence[Drawn]) -> str:
    _write_coco_instances(data, drawn)
    _write_class_images(data / "labels", drawn)
    return _write_names(data.parent)


def _write_labelme(data: pathlib.Path, drawn: Sequence[Drawn]) -> str:
    _save_images(data, drawn)
    for one in drawn:
        shapes = [
            {
                "label": _NAMES[category - 1],
                "points": trace(mask_hw),
                "shape_type": "polygon",
                "group_id": None,
            }
            for category, mask_hw in one.list_objects()
        ]
        content = {
            "imagePath": f"{one.name}.png",
            "imageData": None,
            "imageHeight": _SIZE[0],
            "imageWidth": _SIZE[1],
            "shapes": shapes,
        }
        _write_json(data / f"{one.name}.json", content)
    return "--things=all"


def _write_yolo(data: pathlib.Path, drawn: Sequence[Drawn]) -> None:
    for number, one in enumerate(drawn):
        split = "val" if number % 5 == 0 else "train"
        _save_images(data / "images" / split, [one])
        lines = []
        for category, mask_hw in one.list_objects():
            numbers = [str(_THINGS.index(_NAMES[category - 1]))]
            for x, y in trace(mask_hw):
                numbers += [f"{x / _SIZE[1]:.6f}", f"{y / _SIZE[0]:.6f}"]
            lines.append(" ".join(numbers))
        path = data / "labels" / split / f"{one.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines), encoding="utf-8")
    (data / "data.yaml").write_text(
        f"train: images/train\nval: images/val\nnames: {_THINGS}\n",
        encoding="utf-8",
    )


def _write_cvat(data: pathlib.Path, drawn: Sequence[Drawn]) -> str:
    _save_images(data / "JPEGImages", drawn)
    for one in drawn:
        _save(
            data / "SegmentationClass" / f"{one.name}.png", _COLORS[one.classes]
        )
        # Stuff is a shape, too; each shape has a color of its own.
        is_stuff = (one.classes > 0) & (one.objects == 0)
        shapes = np.where(is_stuff, 200 + one.classes, one.objects)
        rgb = np.stack([shapes % 256, shapes // 256, shapes % 7], -1)
        _save(
            data / "SegmentationObject" / f"{one.name}.png",
            rgb.astype(np.uint8),
        )
    lines = ["# label:color_rgb:parts:actions"] + [
        f"{name}:{','.join(map(str, color))}::"
        for name, color in zip(["background", *_NAMES], _COLORS, strict=True)
    ]
    (data / "labelmap.txt").write_text("\n".join(lines), encoding="utf-8")
    return _THING_FLAG


def _write_bitmasks(data: pathlib.Path, drawn: Sequence[Drawn]) -> list[str]:
    _save_images(data / "images", drawn)
    for one in drawn:
        numbers = np.where(one.objects, one.objects, 500 + one.classes)
        channels = [one.classes, 0 * numbers, numbers >> 8, numbers & 255]
        rgba = np.where(one.classes[..., None], np.stack(channels, -1), 0)
        _save(data / "bitmasks" / f"{one.name}.png", rgba.astype(np.uint8))
    path = data.parent / "classes.txt"
    lines = [f"{i}: {name}" for i, name in enumerate(_NAMES, 1)]
    path.write_text("\n".join(lines), encoding="utf-8")
    return [f"--classes={path}", _THING_FLAG]


def _write_label_images(
    data: pathlib.Path, drawn: Sequence[Drawn]
) -> list[str]:
    _save_images(data / "images", drawn)
    _write_class_images(data / "labels", drawn)
    for one in drawn:
        _save(
            data / "instances" / f"{one.name}.png", one.objects.astype(np.uint8)
        )
    return [_write_names(data.parent), _THING_FLAG]


# Form -> function that writes a folder and returns the flags that it needs.
FORMS: Mapping[
    str, Callable[[pathlib.Path, Sequence[Drawn]], str | list[str] | None]
] = {
    "coco-panoptic": _write_coco_panoptic,
    "coco-instances": _write_coco_instances,
    "coco-instances with label images": _write_coco_and_classes,
    "labelme": _write_labelme,
    "yolo": _write_yolo,
    "cvat": _write_cvat,
    "bitmasks": _write_bitmasks,
    "label-images": _write_label_images,
}


def measure(
    form: str, drawn: Sequence[Drawn], folder: pathlib.Path
) -> list[many_images.Step]:
    """Writes a form, prepares it and checks the records.

    Args:
        form: Key of `FORMS`.
        drawn: The images.
        folder: An empty folder.

    Returns:
        What `deeplab2-prepare` and `deeplab2-check-data` took.

    Raises:
        errors.DataError: A program failed.
    """
    data, records = folder / "data", folder / "mine"
    data.mkdir(parents=True)
    needed = FORMS[form](data, drawn) or []
    chosen = [needed] if isinstance(needed, str) else needed
    prepare = [
        "recipes.prepare_main",
        str(data),
        *chosen,
        f"--out={records}",
        "--write",
    ]
    check = [
        "recipes.check_main",
        f"--dataset={records}/dataset.textproto",
        f"--file_pattern={records}/records/*.tfrecord",
    ]
    return [
        many_images.run_step(f"{form}: {name}", command, len(drawn))
        for name, command in (("prepare", prepare), ("check", check))
    ]


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    drawn = [draw(number) for number in range(_IMAGES.value)]
    print(f"{len(drawn)} images of {_SIZE[0]} x {_SIZE[1]}, wall seconds")
    print("| form | to records | records read and checked again |")
    print("|---|---|---|")
    for form in FORMS:
        with tempfile.TemporaryDirectory() as folder:
            prepared, checked = measure(form, drawn, pathlib.Path(folder))
        print(f"| {form} | {prepared.wall_s:.1f} | {checked.wall_s:.1f} |")


if __name__ == "__main__":
    program.run(_main, _FLAGS)
