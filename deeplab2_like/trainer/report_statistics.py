# SPDX-License-Identifier: Apache-2.0
"""The numbers of an evaluation that only a report needs."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.metrics import (
    panoptic_quality,
    quality_result,
    score_reliability,
    size_quality,
)
from deeplab2_like.results import original_size


class ReportStatistics:
    """Quality by size, reliability of scores, and quality with true maps.

    The state does not grow with the number of images.
    """

    def __init__(
        self,
        descriptor: descriptor_lib.DatasetDescriptor,
        *,
        variant: str = "panopticapi",
        oracles: Sequence[tuple[str, ...]] = (),
    ):
        """Starts without images.

        Args:
            descriptor: The data set.
            variant: Variant of the panoptic quality; see `PanopticQuality`.
            oracles: Names of the true maps of each result with true maps.
        """
        self._names = descriptor.class_names
        self._sizes = size_quality.SizeQuality(descriptor, variant=variant)
        self._scores = score_reliability.ScoreReliability(
            descriptor, variant=variant
        )
        # The first one is the prediction itself.
        self._oracles = [(), *oracles] if oracles else []
        self._qualities = [
            panoptic_quality.PanopticQuality(descriptor, variant=variant)
            for _ in self._oracles
        ]

    def add_image(self, image: original_size.RestoredImage) -> None:
        """Adds an image with instances."""
        true, predicted = image.true_panoptic, image.panoptic
        names = [image.name]
        self._sizes.update(true, predicted, names=names)
        self._scores.update(
            true,
            predicted,
            image.segments["id"],
            image.segments["score"],
            image.name,
        )
        if self._qualities:
            self._qualities[0].update(true, predicted, names=names)

    def add_oracles(
        self, batch: Mapping[str, Any], outputs: Mapping[str, Any]
    ) -> None:
        """Adds the results with true maps of a batch.

        Args:
            batch: See `original_size.restore_images`.
            outputs: See there; with "oracles", int32 [B, O, H, W].
        """
        for index, quality in enumerate(self._qualities[1:]):
            replaced = {**outputs, "panoptic": outputs["oracles"][:, index]}
            for image in original_size.restore_images(batch, replaced):
                quality.update(
                    image.true_panoptic, image.panoptic, names=[image.name]
                )

    def results(self) -> dict[str, Any]:
        """Returns the numbers, as `eval/metrics.json` has them."""
        thirds = self._sizes.find_thirds()
        return {
            "object_sizes": {
                "coco": self._list_sizes(size_quality.COCO_LIMITS),
                "thirds": self._list_sizes(thirds) if thirds else None,
            },
            "score_reliability": self._list_reliability(),
            "oracles": [
                {"true_parts": list(parts), "groups": _list_groups(quality)}
                for parts, quality in zip(
                    self._oracles, self._qualities, strict=True
                )
            ],
        }

    def _list_sizes(self, limits: Sequence[int]) -> list[dict[str, Any]]:
        return [
            {
                "lowest": found.lowest,
                "below": found.below,
                **list_quality(found.quality.things),
                "num_classes": found.quality.things.num_classes,
                "classes": {
                    quality.name: list_quality(quality)
                    for quality in found.quality.per_class
                },
            }
            for found in self._sizes.result(limits)
        ]

    def _list_reliability(self) -> dict[str, Any]:
        every = self._scores.result()
        return {
            **_list_calibration(every),
            "bins": [dataclasses.asdict(part) for part in every.bins],
            "classes": {
                self._names[class_id]: _list_calibration(found)
                for class_id, found in self._scores.per_class().items()
            },
        }


def list_quality(
    quality: quality_result.GroupQuality | quality_result.ClassQuality,
) -> dict[str, Any]:
    """Returns the numbers of a quality by their names in files."""
    return {
        "PQ": quality.pq,
        "SQ": quality.sq,
        "RQ": quality.rq,
        "tp": quality.tp,
        "fp": quality.fp,
        "fn": quality.fn,
    }


def _list_groups(
    quality: panoptic_quality.PanopticQuality,
) -> dict[str, dict[str, Any]]:
    found = quality.result()
    return {
        name: list_quality(group) | {"num_classes": group.num_classes}
        for name, group in (
            ("all", found.all),
            ("things", found.things),
            ("stuff", found.stuff),
        )
    }


def _list_calibration(
    found: score_reliability.Reliability,
) -> dict[str, Any]:
    return {
        "count": found.count,
        "mean_score": found.mean_score,
        "precision": found.precision,
        "ECE": found.ece,
    }
