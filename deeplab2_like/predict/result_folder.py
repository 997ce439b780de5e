# SPDX-License-Identifier: Apache-2.0
"""Writes the results of images to a folder, whole and each once."""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import coco_format
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.predict import journal as journal_lib
from deeplab2_like.results import coco_writer, raw_predictions
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import image_files, json_files, whole_files
from deeplab2_like.visualize import visualizer

JSON_FILE = "panoptic.json"
FAILURES_FILE = "failures.json"
PANOPTIC_ENDING, OVERLAY_ENDING = image_files.OUTPUT_ENDINGS
_COMPRESSION = 3


@dataclasses.dataclass(frozen=True)
class Item:
    """An image to predict: of a file, a record or a video.

    Attributes:
        name: Name of its results, a path below their folder.
        file_name: Its name in the JSON file.
        source: Where it comes from.
        load: Function that returns its pixels, uint8 [H, W, 3]; raises
            `DataError`.
        facts: Further entries of the image in the JSON file.
        has_overlay: Whether a picture with a legend is written.
        is_listed: Whether the image is a result of its own, which is in the
            JSON file and has label maps.
    """

    name: str
    file_name: str
    source: journal_lib.Source
    load: Callable[[], npt.NDArray[np.uint8]]
    facts: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    has_overlay: bool = True
    is_listed: bool = True


@dataclasses.dataclass(frozen=True)
class Failure:
    """What could not be predicted.

    Attributes:
        source: Path of the file; for a part of it, with its number.
        problem: What is wrong with it, a sentence.
    """

    source: str
    problem: str


class ResultFolder:
    """A folder of results, which is not changed before the first result.

    Attributes:
        folder: The folder.
        journal: What it holds already.
        failures: What was left out so far.
        num_written: Number of images that were written and are listed.
        videos: Overlays of videos, paths below the folder.
        tracks: Files of tracks, paths below the folder.
        volumes: Label volumes, paths below the folder.
        large: Files of images in tiles, paths below the folder.
    """

    def __init__(
        self,
        journal: journal_lib.Journal,
        descriptor: DatasetDescriptor,
        raw_writer: raw_predictions.RawPredictionWriter | None = None,
    ):
        """Stores what all images share; writes nothing.

        Args:
            journal: What the folder holds already.
            descriptor: The data set.
            raw_writer: Writer of label maps; None for none.
        """
        self.folder = journal.folder
        self.journal = journal
        self.failures: list[Failure] = []
        self.num_written = 0
        self.videos: list[str] = []
        self.tracks: list[str] = []
        self.volumes: list[str] = []
        self.large: list[str] = []
        self._descriptor = descriptor
        self._raw_writer = raw_writer
        # Ids of the images to list, by name; None where the name decides.
        self._listed: dict[str, int | str | None] = {}

    @property
    def json_path(self) -> pathlib.Path:
        """Path of the JSON file of all images."""
        return self.folder / JSON_FILE

    def is_done(self, item: Item) -> bool:
        """Returns whether the results of an image are there, whole.

        Raises:
            DataError: Files that are not its results would be replaced.
        """
        if self.journal.find(item.name, item.source):
            return True
        self.journal.require_free(item.name, self._list_files(item))
        return False

    def _list_files(self, item: Item) -> list[str]:
        """Lists the files that an image may have."""
        files = self._list_pictures(item)
        if self._raw_writer is not None and item.is_listed:
            name = raw_predictions.choose_path(item.name, self.folder)
            files += [
                f"{folder}/{name}{ending}"
                for folder in image_files.OUTPUT_FOLDERS
                for ending in (".png", ".npy")
            ]
        return files

    def _list_pictures(self, item: Item) -> list[str]:
        overlay = [item.name + OVERLAY_ENDING] if item.has_overlay else []
        return [item.name + PANOPTIC_ENDING, *overlay]

    def list_image(self, name: str, image_id: int | str | None) -> None:
        """Adds an image whose results are there to the JSON file.

        Args:
            name: Name of its results.
            image_id: Its id; None: its name, or the number that this is where
                all images of the JSON file are numbered.

        Raises:
            DataError: An image of this name is listed already.
        """
        if name in self._listed:
            raise errors.DataError(
                f"Two images would have the results {name!r}. Predict one of "
                "them to another --out."
            )
        self._listed[name] = image_id

    @property
    def num_listed(self) -> int:
        """Number of images in the JSON file."""
        return len(self._listed)

    def write(
        self,
        item: Item,
        pixels_hw3: npt.NDArray[np.uint8],
        maps: Mapping[str, npt.NDArray[Any]],
        found: PanopticResult,
    ) -> None:
        """Writes the results of an image.

        Args:
            item: The image.
            pixels_hw3: uint8 [H, W, 3], RGB.
            maps: See `ImagePredictor.predict_maps`.
            found: The segments in `maps`.
        """
        png_name = item.name + PANOPTIC_ENDING
        rgb_hw3, annotation = found.to_coco(png_name, item.name)
        pictures = [rgb_hw3]
        files = self._list_pictures(item)
        if item.has_overlay:
            pictures.append(
                visualizer.visualize(pixels_hw3, found, self._descriptor)
            )
        self.journal.begin(item.name)
        (self.folder / png_name).parent.mkdir(parents=True, exist_ok=True)
        paths = [self.folder / file for file in files]
        with whole_files.WholeFiles(paths) as partials:
            for path, picture in zip(partials, pictures, strict=True):
                Image.fromarray(picture).save(
                    path, format="PNG", compress_level=_COMPRESSION
                )
        if self._raw_writer is not None and item.is_listed:
            written = self._raw_writer.write(
                item.name, maps["semantic"], maps.get("panoptic")
            )
            files += [
                pathlib.Path(path).relative_to(self.folder).as_posix()
                for path in written
            ]
        self.journal.complete(
            item.name,
            item.source,
            files,
            {
                "image": {
                    "file_name": item.file_name,
                    "height": found.height,
                    "width": found.width,
                    **item.facts,
                },
                "segments_info": annotation["segments_info"],
            },
        )
        self.num_written += item.is_listed

    def load(self, name: str) -> PanopticResult:
        """Loads the segments of an image whose results are there."""
        ids_hw = coco_format.load_segment_ids(
            self.folder / (name + PANOPTIC_ENDING)
        )
        entry = self.journal.read(name)
        return PanopticResult.from_coco(ids_hw, entry, self._descriptor)

    def close(self) -> None:
        """Writes the JSON files, of the images and of the failures.

        Those of another program that writes to the folder are left to it.
        """
        if self.journal.is_refused:
            self.journal.close()
            return
        if self._listed:
            coco_writer.write_index(
                self.json_path,
                self._descriptor,
                map(self._make_annotation, self._list_ids()),
                map(self._make_image, self._list_ids()),
            )
        failures = self.folder / FAILURES_FILE
        if self.failures and self.folder.is_dir():
            entries = [dataclasses.asdict(entry) for entry in self.failures]
            json_files.write_json(failures, entries)
        elif self.journal.existed:
            failures.unlink(missing_ok=True)
        self.journal.close()

    def _list_ids(self) -> Iterator[tuple[str, int | str]]:
        """Yields the name and the id of each image to list."""
        is_numbered = _are_numbers(self._listed)
        for name, image_id in self._listed.items():
            if image_id is not None:
                yield name, image_id
            else:
                yield name, int(name) if is_numbered else name

    def _make_annotation(self, named: tuple[str, int | str]) -> dict[str, Any]:
        name, image_id = named
        return {
            "image_id": image_id,
            "file_name": name + PANOPTIC_ENDING,
            "segments_info": self.journal.read(name)["segments_info"],
        }

    def _make_image(self, named: tuple[str, int | str]) -> dict[str, Any]:
        name, image_id = named
        return {"id": image_id, **self.journal.read(name)["image"]}


def _are_numbers(names: Iterable[str]) -> bool:
    """Returns whether names are numbers, all different."""
    texts = list(names)
    return all(name.isascii() and name.isdigit() for name in texts) and len(
        {int(name) for name in texts}
    ) == len(texts)


def to_items(
    files: Sequence[image_files.ImageFile],
    load: Callable[[pathlib.Path], npt.NDArray[np.uint8]],
) -> list[Item]:
    """Makes the items of image files.

    Args:
        files: The files.
        load: Function from a path to pixels; raises `DataError`.
    """
    return [
        Item(
            file.name,
            file.relative_path,
            journal_lib.Source.of_file(file.path),
            functools.partial(load, file.path),
        )
        for file in files
    ]
