# SPDX-License-Identifier: Apache-2.0
"""The frames of true and predicted videos in files, one after the other.

Forms: `CocoFrames`, panoptic PNGs with JSON files; `LabelFrames`, PNGs of class
and instance, as KITTI-STEP has them. One frame at a time is in memory.
"""

import abc
import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import coco_format, coco_json, image_ids, label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.results import coco_reader, raw_predictions
from deeplab2_like.storage import natural_order

# More than any id of a PNG.
DIVISOR = 1 << 32
_ENDINGS = (".png", ".npy")


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """A frame.

    Attributes:
        sequence: Name of its sequence.
        name: Its name, for messages.
        true: int64 [H, W], class * label_divisor + id of the track; 0 in place
            of the id for stuff and crowds.
        predicted: int64 [H, W], the same of the prediction.
    """

    sequence: str
    name: str
    true: npt.NDArray[np.int64]
    predicted: npt.NDArray[np.int64]


class TrackFrames(abc.ABC):
    """The frames of videos, those of a sequence one after the other.

    Attributes:
        descriptor: The data set, whose label_divisor the frames have.
        num_frames: Number of frames.
    """

    descriptor: DatasetDescriptor
    num_frames: int

    @abc.abstractmethod
    def read(self) -> Iterator[Frame]:
        """Yields the frames, sequences and frames in natural order.

        Raises:
            DataError: A file is missing or damaged, or true and predicted
                frames differ in size.
        """


class CocoFrames(TrackFrames):
    """Frames in COCO's panoptic format, whose ids are those of tracks.

    The frames of a sequence are the PNGs in one folder of the ground truth.
    """

    def __init__(
        self,
        true_json: str | os.PathLike[str],
        predicted_json: str | os.PathLike[str],
        *,
        true_folder: str | os.PathLike[str] | None = None,
        predicted_folder: str | os.PathLike[str] | None = None,
    ):
        """Reads the JSON files.

        Args:
            true_json: JSON file of the ground truth, with its categories.
            predicted_json: JSON file of the predictions, with the same image
                and category ids.
            true_folder: Folder of the true PNGs; the path of `true_json`
                without its extension if None.
            predicted_folder: The same of the predictions.

        Raises:
            DataError: A file cannot be used, or a frame of the ground truth
                has no prediction.
        """
        true = coco_json.load(true_json, ["annotations"], ["categories"])
        predicted = coco_json.load(predicted_json, ["annotations"])
        self.descriptor = dataclasses.replace(
            coco_reader.make_descriptor(true), label_divisor=DIVISOR
        )
        self._true_folder = pathlib.Path(
            true_folder or true.path.with_suffix("")
        )
        self._predicted_folder = pathlib.Path(
            predicted_folder or predicted.path.with_suffix("")
        )
        index = image_ids.IdIndex(predicted.annotations)
        self._pairs: list[
            tuple[coco_json.Annotation, coco_json.Annotation]
        ] = []
        for image_id, annotation in true.annotations.items():
            found = index.find(image_id)
            if found is None:
                raise errors.DataError(
                    f"{predicted.path} has no prediction of the image "
                    f"{image_id!r} of {true.path}. Each frame needs an "
                    "annotation, which may have no segments; ids of images "
                    "must be those of the ground truth."
                )
            self._pairs.append((annotation, predicted.annotations[found]))
        self._pairs.sort(key=lambda pair: _order(pair[0].file_name))
        self.num_frames = len(self._pairs)

    def read(self) -> Iterator[Frame]:
        """Yields the frames; see `TrackFrames`."""
        for true, predicted in self._pairs:
            name = true.file_name
            yield _make_frame(
                pathlib.PurePosixPath(name).parent.as_posix(),
                name,
                self._load(self._true_folder, true),
                self._load(self._predicted_folder, predicted),
            )

    def _load(
        self, folder: pathlib.Path, annotation: coco_json.Annotation
    ) -> npt.NDArray[np.int64]:
        path = folder / annotation.file_name
        ids_hw = coco_format.load_segment_ids(path)
        class_of = self.descriptor.class_of_category()
        labels: dict[int, int] = {}
        for segment in annotation.segments:
            class_id = class_of.get(segment.category_id)
            if class_id is None:
                raise errors.DataError(
                    f"{path}: segment {segment.id} has the category "
                    f"{segment.category_id}, which the ground truth's "
                    "`categories` do not have."
                )
            is_track = self.descriptor.is_thing(class_id)
            is_track &= not segment.is_crowd
            labels[segment.id] = class_id * DIVISOR + is_track * segment.id
        found, place = label_map.number_values(ids_hw)
        void = self.descriptor.ignore_label * DIVISOR
        unlisted = [i for i in found.tolist() if i and i not in labels]
        if unlisted:
            raise errors.DataError(
                f"{path} has {len(unlisted)} ids that its JSON file does not "
                f"list, for example {unlisted[0]}. List every id in "
                "`segments_info`, or make it 0."
            )
        table = np.array([labels.get(i, void) for i in found.tolist()])
        return table.astype(np.int64)[place]


class LabelFrames(TrackFrames):
    """Frames as PNGs of class and track, as KITTI-STEP has them.

    The frames of a sequence are the files in one folder; the predicted ones
    have the same paths below theirs.
    """

    def __init__(
        self,
        true_folder: str | os.PathLike[str],
        predicted_folder: str | os.PathLike[str],
        descriptor: DatasetDescriptor,
        *,
        form: str = raw_predictions.THREE_CHANNEL_PNG,
    ):
        """Lists the files.

        Args:
            true_folder: Folder of the true PNGs, in folders by sequence.
            predicted_folder: Folder of the predicted ones.
            descriptor: The data set; classes are its category ids. Void is
                its ignore_label, and what `raw_predictions` writes for it.
            form: Form of the files, a key of `raw_predictions.MAX_INSTANCE`.

        Raises:
            DataError: A folder holds no file, or a frame has no prediction.
        """
        self.descriptor = dataclasses.replace(descriptor, label_divisor=DIVISOR)
        self._form = form
        root = pathlib.Path(true_folder)
        names = sorted(
            (
                path.relative_to(root).as_posix()
                for path in root.rglob("*")
                if path.suffix in _ENDINGS
            ),
            key=_order,
        )
        if not names:
            raise errors.DataError(
                f"The folder {root} holds no {' or '.join(_ENDINGS)} file. "
                "Give that of the true label maps, such as panoptic_maps/val."
            )
        other = pathlib.Path(predicted_folder)
        missing = [name for name in names if not (other / name).is_file()]
        if missing:
            raise errors.DataError(
                f"{other} has no prediction for {len(missing)} of {len(names)} "
                f"frames of {root}, for example {missing[0]}. Predicted files "
                "have the paths of the true ones."
            )
        self._names, self._roots = names, (root, other)
        self.num_frames = len(names)

    def read(self) -> Iterator[Frame]:
        """Yields the frames; see `TrackFrames`."""
        for name in self._names:
            true, predicted = (self._load(root / name) for root in self._roots)
            sequence = pathlib.PurePosixPath(name).parent.as_posix()
            yield _make_frame(sequence, name, true, predicted)

    def _load(self, path: pathlib.Path) -> npt.NDArray[np.int64]:
        categories, tracks = raw_predictions.load_raw_panoptic(path, self._form)
        class_of = self.descriptor.class_of_category()
        ignore = self.descriptor.ignore_label
        class_of.setdefault(ignore, ignore)
        void = raw_predictions.void_category_id(self.descriptor)
        class_of.setdefault(void, ignore)
        found, place = label_map.number_values(categories)
        classes = np.array([class_of.get(c, -1) for c in found.tolist()])
        if (classes < 0).any():
            raise errors.DataError(
                f"{path} has the class {found[classes < 0][0]}, which the data "
                f"set {self.descriptor.name!r} does not have. Give its own "
                "data set as --dataset."
            )
        is_thing = np.isin(classes, self.descriptor.thing_ids)
        return (classes * DIVISOR)[place] + np.where(is_thing[place], tracks, 0)


def _order(name: str) -> tuple[object, ...]:
    """Returns a key that keeps the frames of a folder together."""
    parent = pathlib.PurePosixPath(name).parent.as_posix()
    return natural_order.key(parent), natural_order.key(name)


def _make_frame(
    sequence: str,
    name: str,
    true_hw: npt.NDArray[np.int64],
    predicted_hw: npt.NDArray[np.int64],
) -> Frame:
    if true_hw.shape != predicted_hw.shape:
        raise errors.DataError(
            f"Frame {name!r}: the prediction has the height and width "
            f"{predicted_hw.shape}, the ground truth {true_hw.shape}. "
            "Predictions must have the size of the ground truth."
        )
    return Frame(
        "" if sequence == "." else sequence, name, true_hw, predicted_hw
    )


def follow(
    frames: TrackFrames, advance: Callable[[int], Any]
) -> Iterator[Frame]:
    """Yields the frames and reports how many are done."""
    for number, frame in enumerate(frames.read(), 1):
        yield frame
        advance(number)
