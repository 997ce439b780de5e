# SPDX-License-Identifier: Apache-2.0
"""Thresholds by which each class keeps the same share of its pixels."""

from collections.abc import Sequence

import numpy as np

from deeplab2_like.console import progress
from deeplab2_like.naive_student import selection, unlabeled
from deeplab2_like.naive_student.labeller import Labeller

_MAX_SAMPLED = 100  # Images that thresholds are found on.


def measure_thresholds(
    images: Sequence[unlabeled.UnlabeledImage],
    labeller: Labeller,
    share: float,
    *,
    mask: selection.IgnoreMask | None,
    report: progress.Progress,
) -> list[float]:
    """Measures thresholds on up to 100 of the images, evenly spread.

    Args:
        images: The images that are to be labelled.
        labeller: The model, which says probabilities.
        share: Share of the pixels of each class that is to be kept.
        mask: Pixels that are never labelled.
        report: Display of the progress.

    Returns:
        See `selection.ClassHistogram.find_thresholds`.
    """
    data = labeller.descriptor
    count = min(len(images), _MAX_SAMPLED)
    rows = np.unique(np.linspace(0, len(images) - 1, count).astype(int))
    histogram = selection.ClassHistogram(data.num_classes)
    with report.phase(
        "Measuring probabilities", len(rows), unit="images"
    ) as phase:
        for done, row in enumerate(rows.tolist(), 1):
            labels = labeller.label(images[row].load().pixels)
            if labels.confidence is None:
                raise ValueError("The model has no probabilities.")
            panoptic = selection.apply(labels.panoptic, data, mask=mask)
            histogram.add(panoptic // data.label_divisor, labels.confidence)
            phase.advance(done)
    return histogram.find_thresholds(share)
