# SPDX-License-Identifier: Apache-2.0
"""Files of `scenes`: records, COCO-panoptic files and pictures."""

import io
import os
import pathlib
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.results import coco_writer
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.scenes import scene as scene_lib

_COMPRESS_LEVEL = 3


def _ignore_progress(done: int) -> None:
    del done


def name_scene(split: str, index: int) -> str:
    """Returns the name of a picture of a split: "val_000012"."""
    return f"{split}_{index:06d}"


def check_arguments(
    split: str, count: int, size: tuple[int, int], seed: int
) -> None:
    """Checks what `write_records` and `write_coco` are to draw.

    Args:
        split: Name of the split.
        count: Number of scenes.
        size: Height and width in pixels.
        seed: Seed of all scenes.

    Raises:
        DataError: A number is too small, or the split does not exist.
    """
    if count < 1:
        raise errors.DataError(
            f"Cannot draw {count} scenes for the split {split!r}. Ask for 1 or"
            " more."
        )
    scene_lib.check_arguments(
        scene_lib.compute_seed(split, count - 1, seed), size
    )


def encode_png(image: np.ndarray) -> bytes:
    """Returns an image, uint8 [H, W, 3], as a PNG file."""
    stream = io.BytesIO()
    Image.fromarray(image).save(
        stream, format="PNG", compress_level=_COMPRESS_LEVEL
    )
    return stream.getvalue()


def _draw(
    split: str,
    count: int,
    size: tuple[int, int],
    seed: int,
    report: Callable[[int], None],
) -> Iterator[tuple[str, scene_lib.Scene]]:
    for index in range(count):
        scene = scene_lib.make_scene(
            scene_lib.compute_seed(split, index, seed), size
        )
        yield name_scene(split, index), scene
        report(index + 1)


def write_records(
    folder: str | os.PathLike[str],
    split: str,
    count: int,
    *,
    size: tuple[int, int] = (129, 257),
    seed: int = 0,
    num_shards: int = 4,
    overwrite: bool = False,
    advance: Callable[[int], None] = _ignore_progress,
) -> list[str]:
    """Draws scenes and writes them as `<split>-00000-of-0000N.tfrecord` ....

    Args:
        folder: Folder of the files, created if it does not exist.
        split: "train", "val" or "test"; no scene is in two of them.
        count: Number of scenes.
        size: Height and width of the scenes, pixels.
        seed: Seed of the data set; another one gives other scenes.
        num_shards: Number of files.
        overwrite: Whether older records of the split are replaced.
        advance: Function that is called with the number of scenes so far.

    Returns:
        The paths of the files.

    Raises:
        DataError: An argument is out of range, or older records exist.
    """
    check_arguments(split, count, size, seed)
    from deeplab2_like.data.records import features as record_features
    from deeplab2_like.data.records import writer as record_writer

    examples = (
        record_features.encode_example(
            name=name,
            image=encode_png(scene.image),
            image_format="png",
            size=size,
            panoptic=scene.panoptic,
        )
        for name, scene in _draw(split, count, size, seed, advance)
    )
    return record_writer.write_shards(
        examples, count, str(folder), split, num_shards, overwrite=overwrite
    )


def write_coco(
    folder: str | os.PathLike[str],
    split: str,
    count: int,
    *,
    size: tuple[int, int] = (129, 257),
    seed: int = 0,
    overwrite: bool = False,
    advance: Callable[[int], None] = _ignore_progress,
) -> pathlib.Path:
    """Draws scenes and writes them as COCO-panoptic files.

    The images go to `<folder>/<split>`, the PNGs of segment ids to
    `<folder>/panoptic_<split>`, the annotations to
    `<folder>/panoptic_<split>.json`. The arguments are those of
    `write_records`.

    Returns:
        The path of the JSON file.

    Raises:
        DataError: An argument is out of range, or older files exist.
    """
    check_arguments(split, count, size, seed)
    descriptor = descriptor_lib.load("scenes")
    root = pathlib.Path(folder)
    images, panoptic = root / split, root / f"panoptic_{split}"
    _make_room(images, panoptic, split, overwrite)
    with coco_writer.CocoPanopticWriter(panoptic, descriptor) as writer:
        for index, (name, scene) in enumerate(
            _draw(split, count, size, seed, advance)
        ):
            (images / f"{name}.png").write_bytes(encode_png(scene.image))
            result = PanopticResult.from_label(scene.panoptic, descriptor)
            writer.add(result, f"{name}.png", index + 1)
    return writer.json_path


def _make_room(
    images: pathlib.Path, panoptic: pathlib.Path, split: str, overwrite: bool
) -> None:
    """Creates the folders, and removes older files of the split."""
    json_path = panoptic.with_suffix(".json")
    for path in (images, panoptic, json_path):
        if path.exists() and not overwrite:
            raise errors.DataError(
                f"{str(path)!r} exists already. Choose another folder, or add"
                " --overwrite."
            )
    json_path.unlink(missing_ok=True)
    for path in (images, panoptic):
        path.mkdir(parents=True, exist_ok=True)
        for old in path.glob(f"{split}_*.png"):
            old.unlink()


def write_pictures(
    folder: str | os.PathLike[str],
    split: str,
    count: int,
    *,
    size: tuple[int, int] = (129, 257),
    seed: int = 0,
) -> list[pathlib.Path]:
    """Draws scenes and writes them as PNG files without labels.

    The arguments are those of `write_records`. Files of the same names are
    replaced.

    Returns:
        The paths of the pictures.

    Raises:
        DataError: An argument is out of range.
    """
    check_arguments(split, count, size, seed)
    root = pathlib.Path(folder)
    root.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, scene in _draw(split, count, size, seed, _ignore_progress):
        paths.append(root / f"{name}.png")
        paths[-1].write_bytes(encode_png(scene.image))
    return paths
