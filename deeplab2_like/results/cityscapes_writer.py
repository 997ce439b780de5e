# SPDX-License-Identifier: Apache-2.0
"""Writes results as the evaluation server of Cityscapes takes them.

Each of the three tasks has a folder of its own, because the scripts of
cityscapesScripts look for the files of an image below the whole folder that
they are given (`evaluation/eval*SemanticLabeling.py`):

- `semantic/NAME_pred_labelIds.png`: grey of 8 bits, ids of the labels.
- `instance/NAME.txt`: a line for each object: the path of its mask below the
  folder, the id of its label, its score; the masks are in `instance/masks/`.
- `panoptic/cityscapes_panoptic_SPLIT.json` and the PNGs in the folder of that
  name, in COCO's panoptic format with ids of the labels.
"""

import os
import pathlib
import re
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.results import raw_predictions
from deeplab2_like.results.coco_writer import CocoPanopticWriter
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import whole_files

SEMANTIC, INSTANCE, PANOPTIC = "semantic", "instance", "panoptic"
_MASKS = "masks"
# CITY_SEQUENCE_FRAME; the scripts match files by it.
_NAME = re.compile(r"(?P<name>[^_\s/]+_\d{6}_\d{6})(?:_[^/]*)?")
_MAX_ID = 255


class CityscapesWriter:
    """Writes results for the three tasks of Cityscapes.

        with CityscapesWriter("out", descriptor, split="test") as writer:
            writer.add(result, "berlin_000000_000019_leftImg8bit.png")

    Each file is written completely or not at all; the JSON appears when the
    writer is closed.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        descriptor: DatasetDescriptor,
        *,
        split: str,
    ):
        """Creates the folders.

        Args:
            folder: Folder of the three folders.
            descriptor: The data set, whose category ids are those of the
                labels of Cityscapes.
            split: Name of the split, for the JSON file.

        Raises:
            ConfigError: The data set has ids that no label of Cityscapes has.
        """
        if max(descriptor.category_ids) > _MAX_ID:
            raise errors.ConfigError(
                f"The data set {descriptor.name!r} has the category id "
                f"{max(descriptor.category_ids)}, but the ids of Cityscapes "
                f"are 0 to {_MAX_ID}. Take the descriptor cityscapes_panoptic, "
                "or another one with these ids."
            )
        self.folder = pathlib.Path(folder)
        self._ids = np.array(descriptor.category_ids)
        self._void = raw_predictions.void_category_id(descriptor)
        for inner in (SEMANTIC, f"{INSTANCE}/{_MASKS}"):
            (self.folder / inner).mkdir(parents=True, exist_ok=True)
        base = self.folder / PANOPTIC / f"cityscapes_panoptic_{split}"
        self._panoptic = CocoPanopticWriter(base, descriptor)

    def add(self, result: PanopticResult, image_name: str) -> str:
        """Writes the result of one image.

        Args:
            result: The result at the size of the image.
            image_name: Name or path of the image, which has
                CITY_SEQUENCE_FRAME in it.

        Returns:
            CITY_SEQUENCE_FRAME, the id of the image.

        Raises:
            DataError: The name has another form, or was written before.
        """
        match = _NAME.fullmatch(pathlib.PurePosixPath(image_name).name)
        if match is None:
            raise errors.DataError(
                f"The image {image_name!r} has no name of Cityscapes, such as "
                "berlin_000000_000019_leftImg8bit.png: its scripts match files "
                "by city, sequence and frame."
            )
        name = match["name"]
        self._panoptic.add(
            result,
            f"{name}_leftImg8bit.png",
            name,
            png_name=f"{name}_panoptic.png",
        )
        classes = label_map.replace_values(
            result.semantic(), np.arange(len(self._ids)), self._ids, self._void
        )
        _save(
            self.folder / SEMANTIC / f"{name}_pred_labelIds.png",
            classes.astype(np.uint8),
        )
        self._write_instances(result, name)
        return name

    def _write_instances(self, result: PanopticResult, name: str) -> None:
        lines = []
        for info in result.segments_info:
            if not info["isthing"] or info["iscrowd"]:
                continue
            path = f"{_MASKS}/{name}_{info['id']:04d}.png"
            mask = result.mask(info["id"])
            _save(self.folder / INSTANCE / path, mask.astype(np.uint8) * 255)
            # All digits, so that the order of equal classes stays.
            lines.append(f"{path} {info['category_id']} {info['score']!r}\n")
        text = self.folder / INSTANCE / f"{name}.txt"
        whole_files.write_text(text, "".join(lines))

    def close(self) -> pathlib.Path:
        """Completes the JSON file and returns its path."""
        return self._panoptic.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._panoptic.__exit__(kind, value, traceback)


def _save(path: pathlib.Path, pixels_hw: npt.NDArray[Any]) -> None:
    with whole_files.open_whole(path) as file:
        Image.fromarray(pixels_hw).save(file, format="PNG", compress_level=3)
