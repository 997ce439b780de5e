# SPDX-License-Identifier: Apache-2.0
"""Thresholds by which each class keeps the same share of its pixels."""

import concurrent.futures
import dataclasses
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from deeplab2_like.console import progress
from deeplab2_like.naive_student import report_files, selection, unlabeled
from deeplab2_like.naive_student.labelling_model import Labeller
from deeplab2_like.storage import in_order, json_files

_MAX_SAMPLED = 100  # Images that thresholds are found on.


@dataclasses.dataclass(frozen=True)
class Memory:
    """A file that keeps thresholds until all labels are written.

    Attributes:
        path: Path of the file.
        settings: Checksum of what the labels depend on.
    """

    path: pathlib.Path
    settings: str

    def load(self) -> list[float] | None:
        """Returns the thresholds; None where there are none of these labels."""
        stored = report_files.read(self.path)
        if stored is None or stored.get("settings") != self.settings:
            return None
        return [float(one) for one in stored["thresholds"]]

    def store(self, thresholds: Sequence[float]) -> None:
        """Writes the file."""
        content = {"settings": self.settings, "thresholds": list(thresholds)}
        json_files.write_json(self.path, content)


def find_thresholds(
    images: Sequence[unlabeled.UnlabeledImage],
    share: float,
    *,
    load: Callable[[], Labeller],
    mask: selection.IgnoreMask | None,
    memory: Memory,
    report: progress.Progress,
) -> list[float]:
    """Finds thresholds on up to 100 of the images, evenly spread.

    Args:
        images: The images that are to be labelled.
        share: Share of the pixels of each class that is to be kept.
        load: Function that returns the model, which says probabilities.
        mask: Pixels that are never labelled.
        memory: Keeps the thresholds, which are not measured again.
        report: Display of the progress.

    Returns:
        See `selection.ClassHistogram.find_thresholds`.
    """
    stored = memory.load()
    if stored is not None:
        return stored
    labeller = load()
    data = labeller.descriptor
    count = min(len(images), _MAX_SAMPLED)
    rows = np.unique(np.linspace(0, len(images) - 1, count).astype(int))
    histogram = selection.ClassHistogram(data.num_classes)
    with report.phase(
        "Measuring probabilities", len(rows), unit="images"
    ) as phase:
        threads = labeller.num_replicas
        with concurrent.futures.ThreadPoolExecutor(threads) as executor:
            labelled = in_order.call(
                executor,
                lambda row: labeller.label(images[row].load().pixels),
                rows.tolist(),
                threads,
            )
            for done, labels in enumerate(labelled, 1):
                if labels.confidence is None:
                    raise ValueError("The model has no probabilities.")
                panoptic = selection.apply(labels.panoptic, data, mask=mask)
                histogram.add(panoptic // data.label_divisor, labels.confidence)
                phase.advance(done)
    found = histogram.find_thresholds(share)
    memory.store(found)
    return found
