# SPDX-License-Identifier: Apache-2.0
"""Panoptic quality (PQ), segmentation quality (SQ), recognition quality (RQ).

Kirillov et al., "Panoptic Segmentation", CVPR 2019 (arXiv:1801.00868), sections
4.1 and 4.2. For each class, over all images,

    PQ = sum of IoU over matches / (TP + FP/2 + FN/2) = SQ * RQ

and a group's value is the mean over its classes with TP + FP + FN > 0.

`segment_matching` counts the matches of one image and `quality_result` averages
the counts, for segments from any source; `PanopticQuality` feeds them with
label maps.
"""

import numpy as np

from deeplab2_like import errors
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.metrics import (
    image_counts,
    map_segments,
    overlaps,
    quality_result,
    segment_matching,
)

VARIANTS = map_segments.VARIANTS


class PanopticQuality(image_counts.ImageCounts):
    """PQ of label maps (class * label_divisor + instance).

    The state is 4 numbers per class, for any number of images.

        truth = np.array([[0, 0, 1001, 1002]])  # sky, sky and two cars
        quality = PanopticQuality(descriptor.make(["sky"], ["car"]))
        quality.update(truth, truth)
        print(quality.result().table())

    The prediction of a model is `PanopticResult.panoptic()`, int32 [H, W]:

        quality.update(truth, predictor.predict("photo.jpg").panoptic())

    Rules (variant "panopticapi", as cocodataset/panopticapi):
    pixels whose true class is `ignore_label` are void: they count in no union,
    and a predicted segment with more than half of its area on void and on the
    crowd segment of its class is not a false positive. A thing class with
    instance 0 is crowd in the ground truth: it is never matched and never
    missed. Predicted pixels of the class `ignore_label` are no segment.

    Difference from files: in a label map all crowd regions of a class are one
    segment. In COCO's files there may be several, of which only the last one
    counts in panopticapi (and in `metrics.coco_panoptic`).

    Variant "deeplab2" (its evaluation/panoptic_quality.py): crowd is an
    ordinary segment, and only void with instance 0 is void; other instances of
    `ignore_label` are background, which counts in unions and excuses nothing.
    """

    def __init__(
        self, descriptor: DatasetDescriptor, *, variant: str = "panopticapi"
    ):
        """Creates an accumulator without images.

        Args:
            descriptor: The data set of the labels, with C classes.
            variant: One of `VARIANTS`.

        Raises:
            ConfigError: The variant does not exist.
        """
        self._segments = map_segments.SegmentFinder(descriptor, variant)
        self._num_classes = descriptor.num_classes
        self._variant = variant
        self._names = descriptor.class_names
        self._is_thing = np.zeros(self._num_classes, bool)
        self._is_thing[list(descriptor.thing_ids)] = True
        super().__init__(np.zeros((4, self._num_classes)))

    def merge(self, other: "PanopticQuality") -> None:
        """Adds the images of another accumulator of the same data set.

        Raises:
            ConfigError: The other one has another variant or number of classes.
        """
        if other._counts.shape != self._counts.shape or (
            other._variant != self._variant
        ):
            raise errors.ConfigError(
                f"PQ of {other._counts.shape[1]} classes, variant "
                f"{other._variant}, cannot be merged into PQ of "
                f"{self._counts.shape[1]} classes, variant {self._variant}. "
                "Create both from the same descriptor."
            )
        self._counts += other._counts
        self._num_images += other._num_images

    def result(self) -> quality_result.PanopticQualityResult:
        """Returns the qualities of all images so far; changes nothing."""
        return quality_result.summarize(
            self._counts,
            class_ids=range(self._num_classes),
            names=self._names,
            is_thing=[bool(value) for value in self._is_thing],
            num_images=self._num_images,
        )

    def _add_image(self, name: str, found: overlaps.Overlaps) -> None:
        true, predicted, is_void = self._segments.find(name, found)
        self._counts += segment_matching.count_matches(
            true, predicted, found, self._num_classes, is_void
        )
