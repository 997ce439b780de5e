# SPDX-License-Identifier: Apache-2.0
"""Writes results in COCO's panoptic format; see `labels.coco_format`.

`CocoPanopticWriter` writes PNGs and the JSON file, `write_index` the JSON file
of PNGs that exist.
"""

import contextlib
import os
import pathlib
from collections.abc import Iterable, Mapping
from types import TracebackType
from typing import IO, Any, Self

from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import palette
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import json_files, whole_files


class CocoPanopticWriter:
    """Writes results as COCO-panoptic PNGs and one JSON file.

    Each PNG is written when its result is added and each annotation goes to
    disk at once, so that any number of images can be written. The JSON file
    appears, complete, when the writer is closed; a `with` block that ends by
    an error leaves no JSON file.

        with CocoPanopticWriter("out/pred", descriptor) as writer:
            writer.add(result, "000000142238.jpg", image_id=142238)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        descriptor: DatasetDescriptor,
        *,
        json_path: str | os.PathLike[str] | None = None,
        compress_level: int = 3,
    ):
        """Creates the folder and begins the JSON file.

        Args:
            folder: Folder of the PNGs; created if it does not exist.
            descriptor: The data set, for the list of categories.
            json_path: Path of the JSON file; `<folder>.json` when None, as
                panopticapi expects.
            compress_level: Compression of the PNGs, 0 (fast) to 9 (small).
        """
        self.folder = pathlib.Path(folder)
        self.json_path = pathlib.Path(json_path or f"{self.folder}.json")
        self._descriptor = descriptor
        self._compress_level = compress_level
        self._images: dict[int | str, dict[str, Any]] = {}
        self._names: set[str] = set()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.json_path.parent.mkdir(parents=True, exist_ok=True)
        self._stack = contextlib.ExitStack()
        self._file: IO[str] = self._stack.enter_context(
            whole_files.open_whole(self.json_path, "w")
        )
        self._file.write('{"annotations": [')

    def add(
        self,
        result: PanopticResult,
        image_name: str,
        image_id: int | str | None = None,
        *,
        png_name: str | None = None,
    ) -> pathlib.Path:
        """Writes the result of one image.

        Args:
            result: The result at the size of the image.
            image_name: Path of the image below the folder of the images; of
                an absolute path, the file name counts.
            image_id: Id of the image in the data set; `image_name` without
                extension when None, and with it where that is the id of
                another image.
            png_name: Path of the PNG below the folder; when None, that of the
                image with another extension.

        Returns:
            Path of the PNG.

        Raises:
            DataError: An image of this id or name was already written.
        """
        image = pathlib.PurePath(image_name)
        if png_name is None and (image.is_absolute() or ".." in image.parts):
            image = pathlib.PurePath(image.name)
        stem = image.with_suffix("").as_posix()
        if image_id is None:
            image_id = stem if stem not in self._images else image.as_posix()
        if png_name is None:
            image_name = image.as_posix()
            png_name = f"{stem}.png"
            if png_name in self._names and not any(
                entry["file_name"] == image_name
                for entry in self._images.values()
            ):
                png_name = f"{image_name}.png"  # a.jpg, a.png: two images.
        if png_name in self._names or image_id in self._images:
            raise errors.DataError(
                f"Image {image_name} (id {image_id}) was already written to "
                f"{self.folder}. Ids and names of images must differ: write "
                "each image once, or into separate folders."
            )
        path = self.folder / png_name
        path.parent.mkdir(parents=True, exist_ok=True)
        rgb_hw3, annotation = result.to_coco(png_name, image_id)
        Image.fromarray(rgb_hw3).save(path, compress_level=self._compress_level)
        self._file.write(",\n" if self._images else "\n")
        self._file.write(json_files.to_line(annotation))
        self._names.add(png_name)
        self._images[image_id] = {
            "id": image_id,
            "file_name": image_name,
            "height": result.height,
            "width": result.width,
        }
        return path

    def close(self) -> pathlib.Path:
        """Completes the JSON file and returns its path."""
        if not self._file.closed:
            self._file.write('\n], "images": ')
            images = list(self._images.values())
            self._file.write(json_files.to_line(images))
            self._file.write(',\n"categories": ')
            categories = make_categories(self._descriptor)
            self._file.write(json_files.to_line(categories))
            self._file.write("}\n")
            self._stack.close()
        return self.json_path

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._stack.__exit__(kind, value, traceback)


def write_index(
    path: str | os.PathLike[str],
    descriptor: DatasetDescriptor,
    annotations: Iterable[Mapping[str, Any]],
    images: Iterable[Mapping[str, Any]],
) -> None:
    """Writes the JSON file of PNGs that exist, entry by entry.

    Args:
        path: Path of the file, in an existing folder.
        descriptor: The data set, for the list of categories.
        annotations: Entries of `annotations`, as `PanopticResult.to_coco`
            returns them.
        images: Entries of `images`.
    """
    with whole_files.open_whole(path, "w") as file:
        dump_index(file, descriptor, annotations, images)


def dump_index(
    file: IO[str],
    descriptor: DatasetDescriptor,
    annotations: Iterable[Mapping[str, Any]],
    images: Iterable[Mapping[str, Any]],
) -> None:
    """Writes what `write_index` writes to an open file."""
    file.write('{"annotations": [')
    _write_entries(file, annotations)
    file.write('], "images": [')
    _write_entries(file, images)
    file.write('],\n"categories": ')
    file.write(json_files.to_line(make_categories(descriptor)))
    file.write("}\n")


def _write_entries(file: IO[str], entries: Iterable[Mapping[str, Any]]) -> None:
    separator = "\n"
    for entry in entries:
        file.write(separator + json_files.to_line(entry))
        separator = ",\n"
    file.write("\n")


def make_categories(descriptor: DatasetDescriptor) -> list[dict[str, Any]]:
    """Makes the list `categories` of a data set's COCO-panoptic file."""
    colors = palette.choose_class_colors(descriptor)
    categories = []
    for class_id in range(descriptor.num_classes):
        if class_id == descriptor.ignore_label:
            continue
        entry = {
            "id": int(descriptor.category_ids[class_id]),
            "name": descriptor.class_names[class_id],
            "isthing": int(descriptor.is_thing(class_id)),
            "color": colors[class_id].tolist(),
        }
        categories.append(entry)
    return categories
