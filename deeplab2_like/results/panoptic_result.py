# SPDX-License-Identifier: Apache-2.0
"""The panoptic segmentation of one image.

Predictors return a `PanopticResult`; the visualizer and the writer of
COCO-panoptic files take one. NumPy only.
"""

import dataclasses
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import coco_format, coco_json, label_map
from deeplab2_like.labels.descriptor import DatasetDescriptor


@dataclasses.dataclass(frozen=True, eq=False)
class PanopticResult:
    """The segments of one image; an image without segments is valid.

    Attributes:
        segmentation: int32 [H, W] at the size of the image, id of the segment
            of each pixel: 1..N, or 0 where the class is unknown (void).
        segments_info: One dictionary a segment, in the order of the ids:
            id: int, as in `segmentation`.
            label_id: int, class index of the model.
            category_id: int, id of the class in the data set's own files.
            category_name: str.
            score: float in 0..1, 1.0 for a ground truth.
            isthing: bool, whether the segment is one object.
            was_fused: bool, whether it has all pixels of its class, the
                opposite of `isthing` (the name is Hugging Face's).
            iscrowd: int, 1 for a group of objects of a ground truth.
            area: int, pixels.
            bbox: [x, y, width, height] in pixels, as in COCO's files.
        ignore_label: Class of void pixels in `semantic` and `panoptic`.
        label_divisor: `panoptic` is class * label_divisor + instance.
    """

    segmentation: npt.NDArray[np.int32]
    segments_info: list[dict[str, Any]]
    ignore_label: int = 255
    label_divisor: int = 1000

    @classmethod
    def from_prediction(
        cls,
        panoptic: Any,
        descriptor: DatasetDescriptor,
        *,
        segment_ids: Any,
        segment_scores: Any,
        is_valid: Any = None,
    ) -> Self:
        """Makes the result of one image from the output of post-processing.

        Areas and boxes are computed from the map. Segments of the table that
        have no pixel are dropped.

        Args:
            panoptic: Integers [H, W] at the size of the image, class *
                label_divisor + instance; the class ignore_label is void.
            descriptor: The data set of the model.
            segment_ids: Integers [S], ids of the segments as in `panoptic`.
            segment_scores: Floats [S], scores of the segments.
            is_valid: bool [S], which rows are segments; all when None.

        Raises:
            DataError: The map is not a label map, has a class that the data
                set does not have, or a segment that is not in the table.
        """
        ids = np.asarray(segment_ids).reshape(-1)
        scores = np.asarray(segment_scores).reshape(-1)
        if is_valid is not None:
            rows = np.asarray(is_valid, bool).reshape(-1)
            ids, scores = ids[rows], scores[rows]
        table = dict(zip(ids.tolist(), scores.tolist(), strict=True))
        order = {segment: row for row, segment in enumerate(table)}
        found = _find_segments(panoptic, descriptor)
        missing = [i for i in found.ids.tolist() if i not in table]
        if missing:
            raise errors.DataError(
                f"{len(missing)} segments of the panoptic map are not in the "
                f"segment table, for example {missing[0]}. Give the table of "
                "the same image, with a row for each segment."
            )
        ranks = [order[i] for i in found.ids.tolist()]
        sequence = np.argsort(np.array(ranks, np.int64), kind="stable")
        return cls._build(panoptic, descriptor, found, sequence, table)

    @classmethod
    def from_label(cls, panoptic: Any, descriptor: DatasetDescriptor) -> Self:
        """Makes the result of one image from a label, such as a ground truth.

        Segments are in the order of their labels; things with instance 0 are
        crowd.

        Args:
            panoptic: Integers [H, W], class * label_divisor + instance; the
                class ignore_label is void.
            descriptor: The data set of the label.

        Raises:
            DataError: The map is not a label map, or has a class that the
                data set does not have.
        """
        found = _find_segments(panoptic, descriptor)
        sequence = np.arange(len(found.ids))
        return cls._build(panoptic, descriptor, found, sequence, None)

    @classmethod
    def from_coco(
        cls,
        segment_ids: Any,
        annotation: coco_json.Annotation | dict[str, Any],
        descriptor: DatasetDescriptor,
    ) -> Self:
        """Makes the result of one image from COCO-panoptic files.

        Segments are numbered from 1 in the order of the annotation; pixels
        of ids that it does not list are void.

        Args:
            segment_ids: Integers [H, W], the decoded PNG
                (`coco_format.load_segment_ids`).
            annotation: The image's entry of the JSON file's `annotations`, as
                `coco_json` reads it or as it is in the file.
            descriptor: The data set whose category ids the file has.

        Raises:
            DataError: A segment has no pixel or is listed twice, its category
                does not exist, or the entry has other problems.
        """
        found = label_map.compute_segments(np.asarray(segment_ids))
        rows = {int(i): row for row, i in enumerate(found.ids)}
        class_of = descriptor.class_of_category()
        image: Any
        if isinstance(annotation, coco_json.Annotation):
            image, segments = annotation.image_id, annotation.segments
        else:
            image = annotation.get("image_id")
            segments = coco_json.read_segments(
                annotation.get("segments_info"), f"Image {image}"
            )
        segments_info = []
        for number, segment in enumerate(segments, 1):
            if segment.id not in rows or segment.category_id not in class_of:
                raise errors.DataError(
                    f"Image {image}: segment {segment.id} (category "
                    f"{segment.category_id}) has no pixel in the PNG, or its "
                    f"category is not in data set {descriptor.name!r}. Check "
                    "that PNG, JSON file and data set belong together."
                )
            described = _describe_segment(
                number,
                found,
                rows[segment.id],
                descriptor,
                class_of[segment.category_id],
                1.0 if segment.score is None else segment.score,
            )
            described["iscrowd"] = int(segment.is_crowd)
            segments_info.append(described)
        segmentation = label_map.replace_values(
            np.asarray(segment_ids),
            np.array([segment.id for segment in segments], np.int64),
            np.arange(1, len(segments) + 1),
        )
        return cls(
            segmentation,
            segments_info,
            descriptor.ignore_label,
            descriptor.label_divisor,
        )

    @classmethod
    def _build(
        cls,
        panoptic: Any,
        descriptor: DatasetDescriptor,
        found: label_map.MapSegments,
        sequence: npt.NDArray[np.int64],
        scores: dict[int, float] | None,
    ) -> Self:
        divisor = descriptor.label_divisor
        segments_info = []
        for number, row in enumerate(sequence.tolist(), 1):
            label = int(found.ids[row])
            score = 1.0 if scores is None else float(scores[label])
            info = _describe_segment(
                number, found, row, descriptor, label // divisor, score
            )
            is_group = info["isthing"] and label % divisor == 0
            info["iscrowd"] = int(scores is None and is_group)
            segments_info.append(info)
        numbers = np.arange(1, len(sequence) + 1)
        segmentation = label_map.replace_values(
            np.asarray(panoptic), found.ids[sequence], numbers
        )
        return cls(
            segmentation,
            segments_info,
            descriptor.ignore_label,
            descriptor.label_divisor,
        )

    @property
    def height(self) -> int:
        """Height of the image in pixels."""
        return int(self.segmentation.shape[0])

    @property
    def width(self) -> int:
        """Width of the image in pixels."""
        return int(self.segmentation.shape[1])

    def mask(self, segment_id: int) -> npt.NDArray[np.bool_]:
        """Returns the pixels of one segment: bool [H, W]."""
        return np.asarray(self.segmentation == segment_id)

    def semantic(self) -> npt.NDArray[np.int32]:
        """Returns the class of each pixel: int32 [H, W], void ignore_label."""
        classes = [info["label_id"] for info in self.segments_info]
        return self._replace_ids(np.array(classes, np.int64), self.ignore_label)

    def panoptic(self) -> npt.NDArray[np.int32]:
        """Returns the label of each pixel: int32 [H, W].

        Label = class * label_divisor + instance. Things of a class are
        numbered from 1 in the order of `segments_info`; stuff and crowd have
        instance 0; void is ignore_label * label_divisor.

        Raises:
            DataError: A class has label_divisor instances or more.
        """
        counts: dict[int, int] = {}
        labels = []
        for info in self.segments_info:
            class_id, instance = info["label_id"], 0
            if info["isthing"] and not info["iscrowd"]:
                instance = counts[class_id] = counts.get(class_id, 0) + 1
            if instance >= self.label_divisor:
                raise errors.DataError(
                    f"Class {class_id} has more than "
                    f"{self.label_divisor - 1} instances, which "
                    f"label_divisor {self.label_divisor} cannot number. Raise "
                    "label_divisor in the data set descriptor."
                )
            labels.append(class_id * self.label_divisor + instance)
        void = self.ignore_label * self.label_divisor
        return self._replace_ids(np.array(labels, np.int64), void)

    def to_transformers(self) -> dict[str, Any]:
        """Returns the segments in the format of Hugging Face Transformers.

        Returns:
            As `post_process_panoptic_segmentation` returns: `segmentation`,
            the ids of the segments int32 [H, W] (0 is void), as an array that
            also has the tensor methods `cpu`, `detach` and `numpy`, so that
            `supervision.Detections.from_transformers` takes it; and
            `segments_info`, a list of id, label_id, was_fused and score.
        """
        keys = ("id", "label_id", "was_fused", "score")
        return {
            "segmentation": self.segmentation.view(_TensorLikeArray),
            "segments_info": [
                {key: info[key] for key in keys} for info in self.segments_info
            ],
        }

    def to_coco(
        self, file_name: str, image_id: int | str
    ) -> tuple[npt.NDArray[np.uint8], dict[str, Any]]:
        """Returns the pixels and the annotation of COCO's panoptic format.

        Args:
            file_name: File name of the PNG.
            image_id: Id of the image in the data set's JSON file.

        Returns:
            uint8 [H, W, 3], pixels of the PNG, id = R + 256 * G + 65536 * B;
            and the entry of the JSON file's `annotations`.
        """
        annotation = {
            "image_id": image_id,
            "file_name": file_name,
            "segments_info": self.to_coco_segments(),
        }
        return coco_format.encode_ids(self.segmentation), annotation

    def to_coco_segments(self) -> list[dict[str, Any]]:
        """Returns `segments_info` of COCO's panoptic format."""
        keys = ("id", "category_id", "area", "bbox", "iscrowd", "score")
        return [{key: info[key] for key in keys} for info in self.segments_info]

    def _replace_ids(
        self, values: npt.NDArray[np.int64], void: int
    ) -> npt.NDArray[np.int32]:
        ids = np.array([i["id"] for i in self.segments_info], np.int64)
        return label_map.replace_values(self.segmentation, ids, values, void)


class _TensorLikeArray(np.ndarray[Any, Any]):
    """An array with the methods of tensors that their readers call."""

    def cpu(self) -> Self:
        return self

    def detach(self) -> Self:
        return self

    def numpy(self) -> npt.NDArray[Any]:
        return self.view(np.ndarray)


def _find_segments(
    panoptic: Any, descriptor: DatasetDescriptor
) -> label_map.MapSegments:
    """Finds the segments of a label map, without void."""
    panoptic = np.asarray(panoptic)
    if panoptic.ndim != 2 or panoptic.dtype.kind not in "iu":
        raise errors.DataError(
            f"The panoptic map has the dimensions {panoptic.shape} and the "
            f"type {panoptic.dtype}. It must be integers [H, W], one image."
        )
    found = label_map.compute_segments(panoptic)
    classes = found.ids // descriptor.label_divisor
    is_segment = classes != descriptor.ignore_label
    is_known = (classes >= 0) & (classes < descriptor.num_classes)
    if not (is_known | ~is_segment).all():
        wrong = int(found.ids[is_segment & ~is_known][0])
        raise errors.DataError(
            f"The panoptic map has the label {wrong}, class "
            f"{wrong // descriptor.label_divisor}. Data set "
            f"{descriptor.name!r} has the classes 0.."
            f"{descriptor.num_classes - 1} and {descriptor.ignore_label} "
            "(void): take the descriptor that the model was trained with."
        )
    return label_map.MapSegments(
        found.ids[is_segment], found.areas[is_segment], found.boxes[is_segment]
    )


def _describe_segment(
    number: int,
    found: label_map.MapSegments,
    row: int,
    descriptor: DatasetDescriptor,
    class_id: int,
    score: float,
) -> dict[str, Any]:
    is_thing = bool(descriptor.is_thing(class_id))
    y, x, height, width = found.boxes[row].tolist()
    return {
        "id": number,
        "label_id": class_id,
        "category_id": int(descriptor.category_ids[class_id]),
        "category_name": descriptor.class_names[class_id],
        "score": score,
        "isthing": is_thing,
        "was_fused": not is_thing,
        "iscrowd": 0,
        "area": int(found.areas[row]),
        "bbox": [x, y, width, height],
    }
