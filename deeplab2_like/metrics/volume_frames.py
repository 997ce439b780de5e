# SPDX-License-Identifier: Apache-2.0
"""The slices of a true and a predicted label volume, one after the other."""

import dataclasses
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import coco_json, json_documents, label_map
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import track_frames
from deeplab2_like.results import coco_reader
from deeplab2_like.storage import volumes

_LAYOUT = (
    "A file of tracks is an object with `categories` (id, name, isthing) and "
    "`annotations` (id of the label, category_id), as deeplab2-predict --link "
    "writes it."
)


class VolumeFrames(track_frames.TrackFrames):
    """Slices of label volumes, whose labels are those of tracks; 0 is void."""

    def __init__(
        self,
        true_path: str | os.PathLike[str],
        predicted_path: str | os.PathLike[str],
        *,
        true_json: str | os.PathLike[str] | None = None,
        predicted_json: str | os.PathLike[str] | None = None,
    ):
        """Opens the volumes and reads the classes of their labels.

        Args:
            true_path: The true volume; see `volumes.open_volume`.
            predicted_path: The predicted one.
            true_json: File of the true tracks, with the categories; see
                `results.tracks_json`.
            predicted_json: File of the predicted tracks. Without both, all
                labels are objects of one class, and 0 is the background,
                which is compared too, as stuff.

        Raises:
            ConfigError: Only one of the JSON files is given.
            DataError: A file cannot be used, or the sizes differ.
        """
        if (true_json is None) != (predicted_json is None):
            raise errors.ConfigError(
                "Only one of the volumes has classes. Give --gt_json and "
                "--pred_json, the files of the tracks of both, or none."
            )
        self._volumes = (
            volumes.open_volume(true_path),
            volumes.open_volume(predicted_path),
        )
        shapes = [volume.shape for volume in self._volumes]
        if shapes[0] != shapes[1]:
            raise errors.DataError(
                f"{predicted_path} has the size {list(shapes[1])}, {true_path} "
                f"{list(shapes[0])}. Both must be equal: slices, height, "
                "width."
            )
        self._name = os.fspath(true_path)
        self._tables: tuple[dict[int, int] | None, ...] = (None, None)
        if true_json is None or predicted_json is None:
            dataset = descriptor_lib.make(["background"], ["object"])
        else:
            dataset = coco_reader.make_descriptor(
                coco_json.load(true_json, [], ["categories"])
            )
            self._tables = (
                _load_classes(true_json, dataset),
                _load_classes(predicted_json, dataset),
            )
        self.descriptor = dataclasses.replace(
            dataset, label_divisor=track_frames.DIVISOR
        )
        self.num_frames = shapes[0][0]

    def read(self) -> Iterator[track_frames.Frame]:
        """Yields the slices; see `TrackFrames`."""
        for number in range(self.num_frames):
            true, predicted = (
                self._convert(volume.read(number), table, volume.path)
                for volume, table in zip(
                    self._volumes, self._tables, strict=True
                )
            )
            yield track_frames.Frame(
                "", f"{self._name}, slice {number}", true, predicted
            )

    def _convert(
        self,
        labels_hw: npt.NDArray[Any],
        classes: dict[int, int] | None,
        path: str,
    ) -> npt.NDArray[np.int64]:
        if labels_hw.ndim != 2 or labels_hw.dtype.kind not in "iu":
            raise errors.DataError(
                f"{path} is no label volume: its slices are "
                f"{labels_hw.dtype} {list(labels_hw.shape)}. Labels are whole "
                "numbers, one a voxel."
            )
        for label in (labels_hw.min(), labels_hw.max()):
            if not 0 <= label < track_frames.DIVISOR:
                raise errors.DataError(
                    f"{path} has the label {label}. Labels must be 0 to "
                    f"{track_frames.DIVISOR - 1}, with 0 where there is no "
                    "segment: number them anew."
                )
        if classes is None:
            labels = labels_hw.astype(np.int64)
            return labels + track_frames.DIVISOR * (labels > 0)
        found, place = label_map.number_values(labels_hw)
        void = self.descriptor.ignore_label * track_frames.DIVISOR
        table = []
        for label in found.tolist():
            if label and label not in classes:
                raise errors.DataError(
                    f"{path} has the label {label}, which the file of its "
                    "tracks does not list. Give the file of this volume."
                )
            class_id = classes.get(label)
            if class_id is None:
                table.append(void)
                continue
            is_thing = self.descriptor.is_thing(class_id)
            table.append(class_id * track_frames.DIVISOR + is_thing * label)
        return np.array(table, np.int64)[place]


def _load_classes(
    path: str | os.PathLike[str], dataset: descriptor_lib.DatasetDescriptor
) -> dict[int, int]:
    """Loads the class of each track."""
    content = json_documents.load(path, "file of tracks", _LAYOUT)
    class_of = dataset.class_of_category()
    try:
        return {
            int(track["id"]): class_of[int(track["category_id"])]
            for track in content["annotations"]
        }
    except (KeyError, TypeError, ValueError) as error:
        raise errors.DataError(
            f"{path} has annotations without an id and a category_id of the "
            f"ground truth's categories ({error!r}). {_LAYOUT}"
        ) from error
