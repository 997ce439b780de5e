# SPDX-License-Identifier: Apache-2.0
"""All numbers of one evaluation: means, by class and by image."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from deeplab2_like.meta_architectures import contract
from deeplab2_like.metrics import (
    average_precision,
    mean_iou,
    overlaps,
    panoptic_quality,
    quality_result,
    tube_overlaps,
)
from deeplab2_like.results import original_size

# Images of the lowest scores that are listed.
WORST_IMAGES = 100
# Names of COCO's numbers in deeplab2.
_AP_SUMMARIES = {
    "AP": "AP_Mask",
    "AP50": "AP_Mask_@IoU=0.5",
    "AP75": "AP_Mask_@IoU=0.75",
    "AP_small": "AP_Mask_small",
    "AP_medium": "AP_Mask_medium",
    "AP_large": "AP_Mask_large",
    "AR1": "AR_Mask_maxdets=1",
    "AR10": "AR_Mask_maxdets=10",
    "AR100": "AR_Mask_maxdets=100",
    "AR_small": "AR_Mask_small",
    "AR_medium": "AR_Mask_medium",
    "AR_large": "AR_Mask_large",
}
# Numbers of a class and their names as summaries, before the class name.
_CLASS_SUMMARIES = {
    "PQ": "evaluation/pq/PQ",
    "IoU": "evaluation/iou/IoU",
    "AP": "evaluation/ap/AP_Mask",
}


class Scores:
    """All metrics of one evaluation."""

    def __init__(
        self,
        system: contract.MetaArchitecture,
        *,
        pq_variant: str = "panopticapi",
        detailed_ap: bool = False,
        label_divisor: int | None = None,
    ):
        """Creates the metrics.

        Args:
            system: System of the model.
            pq_variant: Variant of the panoptic quality; see `PanopticQuality`.
            detailed_ap: Whether all twelve numbers of COCO's mask AP are
                summaries, not only the main one.
            label_divisor: Divisor of the panoptic ids of images that
                `update_overlaps` adds; there is no AP of these. None: images
                are added by `update`, with the divisor of the data set.
        """
        self._detailed_ap = detailed_ap
        self._pq_variant = pq_variant
        self._descriptor = system.descriptor
        self._has_maps = label_divisor is None
        if label_divisor is not None:
            self._descriptor = dataclasses.replace(
                self._descriptor, label_divisor=label_divisor
            )
        self._has_instances = system.has_instances
        self._iou = mean_iou.MeanIoU(self._descriptor)
        self._pq = self._make_quality()
        self._ap: average_precision.AveragePrecision | None = None
        if self._has_maps and self._has_instances:
            self._ap = average_precision.AveragePrecision(self._descriptor)
        self._losses: dict[str, list[float]] = {}
        self._images: list[dict[str, Any]] = []

    def _make_quality(self) -> panoptic_quality.PanopticQuality:
        return panoptic_quality.PanopticQuality(
            self._descriptor, variant=self._pq_variant
        )

    def update(self, image: original_size.RestoredImage) -> dict[str, Any]:
        """Adds an image and returns its numbers: "name", "mIoU", "PQ" ..."""
        true = image.true_panoptic
        names = [image.name]
        iou = mean_iou.MeanIoU(self._descriptor)
        iou.update(
            true // self._descriptor.label_divisor, image.semantic, names=names
        )
        self._iou.merge(iou)
        entry = {"name": image.name, "mIoU": _miou(iou.result())}
        if self._has_instances:
            quality = self._make_quality()
            quality.update(true, image.panoptic, names=names)
            self._pq.merge(quality)
            entry = _list_group(quality.result().all) | entry
        if self._ap is not None:
            self._ap.update(
                true,
                image.panoptic,
                image.segments["id"],
                image.segments["score"],
                names=names,
            )
        self._add_image(entry)
        return entry

    def update_overlaps(
        self, name: str, found: overlaps.Overlaps
    ) -> dict[str, Any]:
        """Adds an image of which the overlaps of segments are known.

        Args:
            name: Name of the image.
            found: Pixels that true and predicted panoptic ids share.

        Returns:
            See `update`.
        """
        divisor = self._descriptor.label_divisor
        classes = tube_overlaps.rename(
            found, found.true_ids // divisor, found.predicted_ids // divisor
        )
        iou = mean_iou.MeanIoU(self._descriptor)
        iou.update_overlaps(name, classes)
        self._iou.merge(iou)
        entry = {"name": name, "mIoU": _miou(iou.result())}
        if self._has_instances:
            quality = self._make_quality()
            quality.update_overlaps(name, found)
            self._pq.merge(quality)
            entry = _list_group(quality.result().all) | entry
        self._add_image(entry)
        return entry

    def _add_image(self, entry: dict[str, Any]) -> None:
        """Adds an image to the worst ones, of which no more are kept."""
        key = "PQ" if self._has_instances else "mIoU"
        if math.isnan(entry[key]):
            return
        self._images.append(entry)
        if len(self._images) >= 2 * WORST_IMAGES:
            self._images = self._list_worst()

    def _list_worst(self) -> list[dict[str, Any]]:
        key = "PQ" if self._has_instances else "mIoU"
        order = sorted(self._images, key=lambda entry: float(entry[key]))
        return order[:WORST_IMAGES]

    def update_losses(self, losses: Mapping[str, np.ndarray]) -> None:
        """Adds the losses of a batch, float32 [B] each, by name."""
        for name, values in losses.items():
            self._losses.setdefault(name, []).extend(values.tolist())

    def results(self) -> dict[str, Any]:
        """Returns the results; see `runs.evaluate`."""
        iou = self._iou.result()
        summaries = {"evaluation/iou/IoU": iou.scalars()["mIoU"]}
        results: dict[str, Any] = {"summaries": summaries, "warnings": []}
        for name, values in self._losses.items():
            summaries[f"losses/eval_{name}"] = float(np.mean(values))
        if self._losses:
            parts = [np.asarray(values) for values in self._losses.values()]
            summaries["losses/eval_total_loss"] = float(np.mean(sum(parts)))
        quality = precision = None
        if self._has_instances:
            quality = self._pq.result()
            for name, value in quality.scalars().items():
                summaries[f"evaluation/pq/{name}"] = value
            results["table"] = quality.table()
            results["warnings"] = [*quality.warnings]
        if self._ap is not None:
            precision = self._ap.result()
            for key, value in precision.scalars().items():
                if key == "AP" or self._detailed_ap:
                    summaries[f"evaluation/ap/{_AP_SUMMARIES[key]}"] = value
            results["average_precision"] = precision.scalars()
            results["warnings"] += precision.warnings
        if quality is not None:
            results["groups"] = {
                name: _list_group(getattr(quality, name))
                for name in ("all", "things", "stuff")
            }
        results["warnings"] += iou.warnings
        results["iou_per_class"] = iou.per_class.tolist()
        results["pixel_accuracy"] = iou.pixel_accuracy
        results["num_images"] = iou.num_images
        results["classes"] = self._list_classes(iou, quality, precision)
        results["confusion"] = self._list_confusion()
        results["images"] = self._list_worst()
        return results

    def _list_classes(
        self,
        iou: mean_iou.MeanIoUResult,
        quality: quality_result.PanopticQualityResult | None,
        precision: average_precision.AveragePrecisionResult | None,
    ) -> dict[str, dict[str, Any]]:
        """Returns the numbers of each class by its name."""
        classes = {}
        for index, name in enumerate(self._descriptor.class_names):
            if index == self._descriptor.ignore_label:
                continue
            is_thing = self._descriptor.is_thing(index)
            entry: dict[str, Any] = {"is_thing": is_thing}
            if quality is not None:
                found = quality.per_class[index]
                entry |= {"PQ": found.pq, "SQ": found.sq, "RQ": found.rq}
            entry["IoU"] = float(iou.per_class[index])
            if precision is not None and is_thing:
                entry["AP"] = precision.per_class[index]
            if quality is not None:
                entry |= {"tp": found.tp, "fp": found.fp, "fn": found.fn}
            classes[name] = entry
        return classes

    def _list_confusion(self) -> dict[str, Any]:
        """Returns the pixels of each true class by predicted class."""
        names = list(self._descriptor.class_names)
        counts = self._iou.state()[:-1].reshape(len(names), len(names) + 1)
        return {
            "true_classes": names,
            "predicted_classes": [*names, "(void)"],
            "pixels": counts.tolist(),
        }


def class_summaries(results: Mapping[str, Any]) -> dict[str, float]:
    """Returns the numbers of the classes as summaries, by tag.

    Args:
        results: The results of an evaluation.
    """
    return {
        f"{tag}/{name}": entry[key]
        for name, entry in results.get("classes", {}).items()
        for key, tag in _CLASS_SUMMARIES.items()
        if key in entry
    }


def _miou(result: mean_iou.MeanIoUResult) -> float:
    """Returns the mean IoU; NaN without labeled pixels."""
    return math.nan if math.isnan(result.pixel_accuracy) else result.miou


def _list_group(group: quality_result.GroupQuality) -> dict[str, Any]:
    values = dataclasses.asdict(group)
    return {
        {"pq": "PQ", "sq": "SQ", "rq": "RQ"}.get(name, name): value
        for name, value in values.items()
    }
