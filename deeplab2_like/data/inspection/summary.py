# SPDX-License-Identifier: Apache-2.0
"""From what was collected to the numbers of a report."""

import numpy as np

from deeplab2_like.data.inspection import duplicates, findings, texts
from deeplab2_like.data.inspection.collector import Collector
from deeplab2_like.data.inspection.duplicates import Twins
from deeplab2_like.data.inspection.findings import Evidence
from deeplab2_like.reports.data_check import ClassCounts, DataCheck, Split

_MAX_SIZES = 1000


def find_twins(collector: Collector) -> tuple[Twins, Twins]:
    """Finds equal images, and others that look nearly equal."""
    splits = collector.image_splits
    equal = duplicates.find_equal(collector.digests, splits)
    # Equal images are named once: only the first of them is compared further.
    is_hashed = collector.is_hashed
    for pairs in (equal.within, equal.between):
        is_hashed[pairs[:, 1]] = False
    return equal, duplicates.find_near(collector.hashes, splits, is_hashed)


def summarize(
    evidence: Evidence, name: str, form: str, num_images: int
) -> DataCheck:
    """Returns the numbers of a report.

    Args:
        evidence: What was found.
        name: Name of the data.
        form: In which form they are, and where.
        num_images: Images that are listed.
    """
    collector = evidence.collector
    data = collector.descriptor
    has_labels = collector.has_labels
    splits = tuple(
        Split(
            texts.make_writable(split),
            images=collector.num_images[i],
            pixels=collector.label_pixels[i],
            void_pixels=collector.void_pixels[i],
            instances=int(collector.instances[i].sum()),
            crowds=int(collector.crowds[i].sum()),
        )
        for i, split in enumerate(collector.splits)
    )
    classes = tuple(
        ClassCounts(
            texts.make_writable(data.class_names[i]),
            data.is_thing(i),
            *(
                tuple(counts[:, i].tolist())
                for counts in (
                    collector.pixels,
                    collector.images,
                    collector.instances,
                    collector.crowds,
                )
            ),
        )
        for i in range(data.num_classes)
        if i != data.ignore_label
    )
    return DataCheck(
        name=texts.make_writable(name),
        form=texts.make_writable(form),
        is_quick=evidence.is_quick,
        has_labels=has_labels,
        num_images=num_images,
        splits=splits,
        classes=classes if has_labels else (),
        sizes=tuple(
            (height, width, count)
            for (height, width), count in collector.sizes.most_common(
                _MAX_SIZES
            )
        ),
        instances_per_image=tuple(
            sorted(collector.instances_per_image.items())
        ),
        instance_sides=_list_sides(collector.sides),
        equal=(len(evidence.equal.within), len(evidence.equal.between)),
        near=(len(evidence.near.within), len(evidence.near.between)),
        findings=findings.list_findings(evidence),
    )


def _list_sides(counts: np.ndarray) -> tuple[tuple[int, int, int], ...]:
    present = np.flatnonzero(counts)
    if not len(present):
        return ()
    return tuple(
        (2**i, 2 ** (i + 1), int(counts[i]))
        for i in range(int(present[0]), int(present[-1]) + 1)
    )
