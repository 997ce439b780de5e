# SPDX-License-Identifier: Apache-2.0
"""What an evaluation found, as `eval/metrics.json` holds it."""

import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import any_files

RESULTS_FILE = "metrics.json"


@dataclasses.dataclass(frozen=True)
class Quality:
    """The panoptic quality of a class or of a group of classes.

    Attributes:
        pq: Panoptic quality in 0..1; None where it is not defined.
        sq: Segmentation quality, as `pq`.
        rq: Recognition quality, as `pq`.
        tp: Matched segments.
        fp: Predicted segments without a match.
        fn: True segments without a match.
        num_classes: Classes of a group that occur; None for one class.
    """

    pq: float | None
    sq: float | None
    rq: float | None
    tp: int
    fp: int
    fn: int
    num_classes: int | None = None


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """The numbers of one class, in 0..1; None where not defined.

    Attributes:
        name: Name of the class.
        is_thing: Whether its segments are instances.
        quality: Panoptic quality; None for systems without instances.
        iou: Intersection over union of its pixels.
        ap: Mask AP; None for stuff too.
    """

    name: str
    is_thing: bool
    quality: Quality | None
    iou: float | None
    ap: float | None


@dataclasses.dataclass(frozen=True)
class ImageScores:
    """The numbers of one image, in 0..1.

    Attributes:
        name: Name of the image.
        pq: Panoptic quality; None for systems without instances.
        miou: Mean IoU.
        quality: Counts of its segments; None for systems without instances.
    """

    name: str
    pq: float | None
    miou: float | None
    quality: Quality | None

    @property
    def score(self) -> float | None:
        """The number by which images are ordered: PQ, or else mean IoU."""
        return self.miou if self.quality is None else self.pq


@dataclasses.dataclass(frozen=True)
class SizeRange:
    """The things of a range of areas.

    Attributes:
        lowest: Smallest area in pixels.
        below: The area from which on things are larger; None without end.
        quality: Mean over the thing classes, and counts.
        classes: The same by the name of the class.
    """

    lowest: int
    below: int | None
    quality: Quality
    classes: Mapping[str, Quality]


@dataclasses.dataclass(frozen=True)
class Calibration:
    """Scores and precision of predicted things; None without things.

    Attributes:
        count: Things.
        mean_score: Expected precision in 0..1.
        precision: Observed precision in 0..1.
        ece: Expected calibration error in 0..1; None for one interval.
    """

    count: int
    mean_score: float | None
    precision: float | None
    ece: float | None = None


@dataclasses.dataclass(frozen=True)
class Reliability:
    """How well scores state the precision.

    Attributes:
        every: All predicted things.
        bins: Lowest and highest score of each interval, and its things.
        classes: The things of each class by its name.
    """

    every: Calibration
    bins: tuple[tuple[float, float, Calibration], ...]
    classes: Mapping[str, Calibration]


@dataclasses.dataclass(frozen=True)
class Oracle:
    """The quality with true maps in place of some of the predicted ones.

    Attributes:
        true_parts: Which maps are true; none for the prediction itself.
        groups: "all", "things" and "stuff".
    """

    true_parts: tuple[str, ...]
    groups: Mapping[str, Quality]


@dataclasses.dataclass(frozen=True)
class Confusion:
    """Pixels of each true class (row) by predicted class (column)."""

    true_classes: tuple[str, ...]
    predicted_classes: tuple[str, ...]
    pixels: tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """All that an evaluation found; numbers in 0..1, None where not defined.

    Attributes:
        facts: What was evaluated: "experiment", "checkpoint", "step",
            "data_set", "file_pattern", "pq_variant", "versions".
        num_images: Images that were compared.
        miou: Mean IoU.
        pixel_accuracy: Share of the labeled pixels whose class is right.
        groups: Panoptic quality of "all", "things" and "stuff"; empty for
            systems without instances.
        average_precision: COCO's numbers by name; empty without instances.
        classes: Every class.
        confusion: Pixels by true and predicted class.
        images: Images of the lowest scores, worst first.
        coco_sizes: Things by COCO's ranges of areas; empty if not measured.
        own_sizes: Things by thirds of the data set; empty if there are none.
        reliability: Scores of things; None if not measured.
        oracles: Quality with true maps; empty if not measured.
        warnings: Sentences about numbers that are not defined.
    """

    facts: Mapping[str, Any]
    num_images: int
    miou: float | None
    pixel_accuracy: float | None
    groups: Mapping[str, Quality]
    average_precision: Mapping[str, float | None]
    classes: tuple[ClassScores, ...]
    confusion: Confusion
    images: tuple[ImageScores, ...]
    coco_sizes: tuple[SizeRange, ...] = ()
    own_sizes: tuple[SizeRange, ...] = ()
    reliability: Reliability | None = None
    oracles: tuple[Oracle, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def has_instances(self) -> bool:
        """Whether the system predicts instances."""
        return bool(self.groups)


def load_evaluation(folder: str | os.PathLike[str]) -> Evaluation:
    """Reads the numbers of the last evaluation of a run.

    Args:
        folder: The model folder.

    Raises:
        ConfigError: The run was not evaluated.
        DataError: The file is damaged or of an earlier version.
    """
    return read_evaluation(*load_metrics(folder))


def load_metrics(
    folder: str | os.PathLike[str],
) -> tuple[dict[str, Any], str]:
    """Reads `eval/metrics.json` of a run, and returns its path too.

    Args:
        folder: The model folder.

    Raises:
        ConfigError: The run was not evaluated.
        DataError: The file is not a JSON object.
    """
    path = any_files.join(folder, f"eval/{RESULTS_FILE}")
    try:
        metrics = json.loads(any_files.read_text(path))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise errors.ConfigError(
            f"{path} does not exist, so that there are no numbers of that run. "
            f"Evaluate it first: deeplab2-evaluate --model_dir={folder}"
        ) from error
    except OSError as error:
        raise errors.DataError(
            f"{path} cannot be read: {error.strerror}. It must be the file "
            "that deeplab2-evaluate writes."
        ) from error
    except ValueError as error:
        raise errors.DataError(
            f"{path} is not JSON ({error}). Evaluate that run again: "
            f"deeplab2-evaluate --model_dir={folder}"
        ) from error
    if not isinstance(metrics, dict):
        raise errors.DataError(
            f"{path} is a {type(metrics).__name__}, not an object. Evaluate "
            f"that run again: deeplab2-evaluate --model_dir={folder}"
        )
    return metrics, path


def read_evaluation(metrics: Mapping[str, Any], where: str) -> Evaluation:
    """Reads the content of `eval/metrics.json`.

    Args:
        metrics: The content of the file.
        where: Path of the file, for error messages.

    Raises:
        DataError: Something that is needed is missing or of another type.
    """
    try:
        return _read(metrics)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise errors.DataError(
            f"{where} lacks numbers that a report needs ({what}). It must be "
            "the file of a deeplab2-evaluate of this version: evaluate that "
            "run again."
        ) from error


def _read(metrics: Mapping[str, Any]) -> Evaluation:
    summaries = metrics["summaries"]
    sizes = metrics.get("object_sizes") or {}
    reliability = metrics.get("score_reliability")
    confusion = metrics["confusion"]
    fact_names = (
        "experiment",
        "checkpoint",
        "step",
        "data_set",
        "file_pattern",
        "pq_variant",
        "versions",
    )
    return Evaluation(
        facts={name: metrics[name] for name in fact_names if name in metrics},
        num_images=int(metrics["num_images"]),
        miou=_number(summaries["evaluation/iou/IoU"]),
        pixel_accuracy=_number(metrics["pixel_accuracy"]),
        groups=_read_groups(metrics.get("groups") or {}),
        average_precision={
            str(name): _number(value)
            for name, value in metrics.get("average_precision", {}).items()
        },
        classes=tuple(
            ClassScores(
                name=str(name),
                is_thing=bool(entry["is_thing"]),
                quality=_read_quality(entry) if "PQ" in entry else None,
                iou=_number(entry["IoU"]),
                ap=_number(entry.get("AP")),
            )
            for name, entry in metrics["classes"].items()
        ),
        confusion=Confusion(
            tuple(str(name) for name in confusion["true_classes"]),
            tuple(str(name) for name in confusion["predicted_classes"]),
            tuple(
                tuple(int(count) for count in row)
                for row in confusion["pixels"]
            ),
        ),
        images=tuple(
            ImageScores(
                name=str(entry["name"]),
                pq=_number(entry.get("PQ")),
                miou=_number(entry["mIoU"]),
                quality=_read_quality(entry) if "PQ" in entry else None,
            )
            for entry in metrics["images"]
        ),
        coco_sizes=_read_sizes(sizes.get("coco")),
        own_sizes=_read_sizes(sizes.get("thirds")),
        reliability=_read_reliability(reliability) if reliability else None,
        oracles=tuple(
            Oracle(
                tuple(str(part) for part in entry["true_parts"]),
                _read_groups(entry["groups"]),
            )
            for entry in metrics.get("oracles") or ()
        ),
        warnings=tuple(str(text) for text in metrics.get("warnings", ())),
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _read_quality(entry: Mapping[str, Any]) -> Quality:
    classes = entry.get("num_classes")
    return Quality(
        _number(entry["PQ"]),
        _number(entry["SQ"]),
        _number(entry["RQ"]),
        int(entry["tp"]),
        int(entry["fp"]),
        int(entry["fn"]),
        None if classes is None else int(classes),
    )


def _read_groups(groups: Mapping[str, Any]) -> dict[str, Quality]:
    return {str(name): _read_quality(entry) for name, entry in groups.items()}


def _read_sizes(ranges: Any) -> tuple[SizeRange, ...]:
    return tuple(
        SizeRange(
            lowest=int(entry["lowest"]),
            below=None if entry["below"] is None else int(entry["below"]),
            quality=_read_quality(entry),
            classes=_read_groups(entry["classes"]),
        )
        for entry in ranges or ()
    )


def _read_calibration(entry: Mapping[str, Any]) -> Calibration:
    return Calibration(
        int(entry["count"]),
        _number(entry["mean_score"]),
        _number(entry["precision"]),
        _number(entry.get("ECE")),
    )


def _read_reliability(entry: Mapping[str, Any]) -> Reliability:
    return Reliability(
        every=_read_calibration(entry),
        bins=tuple(
            (float(b["lowest"]), float(b["highest"]), _read_calibration(b))
            for b in entry["bins"]
        ),
        classes={
            str(name): _read_calibration(value)
            for name, value in entry["classes"].items()
        },
    )
