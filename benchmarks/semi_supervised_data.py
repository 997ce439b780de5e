# SPDX-License-Identifier: Apache-2.0
"""Divides records into labelled and unlabelled ones, and scores pseudo labels.

In reading order: `split`, `LabelQuality`, `score_labels`.
"""

import dataclasses
import hashlib
import json
import pathlib
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from deeplab2_like import errors
from deeplab2_like.storage import json_files

# Lower ends of the bins of probabilities.
BINS = (0.0, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)


def split(
    patterns: Sequence[str], count: int, folder: pathlib.Path
) -> dict[str, int]:
    """Writes some of the records with labels, and the others without.

    The order is that of the checksums of the names: the records of a smaller
    count are among those of a larger one, on every machine.

    Args:
        patterns: Patterns of TFRecord files: first the labelled data, then
            further images, whose labels are never used.
        count: Labelled records; 0 for all of the first pattern.
        folder: Gets `labelled-*`, `unlabelled-*` (no labels), and `hidden-*`,
            the records of the unlabelled images that have labels.

    Returns:
        Number of records of each kind.

    Raises:
        DataError: There are not as many records, or the folder was made of
            others.
    """
    from deeplab2_like.data.records import writer

    done = folder / "split.json"
    if done.exists():
        counts = dict(json.loads(done.read_text(encoding="utf-8")))
        made_of = counts.pop("patterns", list(patterns))
        if made_of != list(patterns):
            raise errors.DataError(
                f"{folder} was made of {', '.join(made_of)}, not of "
                f"{', '.join(patterns)}. Give the same records, or remove the "
                "folder and those of its runs."
            )
        return counts
    named = sorted(
        read_records(patterns[:1]),
        key=lambda item: hashlib.sha256(item[0].encode()).hexdigest(),
    )
    if count > len(named):
        raise errors.DataError(
            f"{patterns[0]} has {len(named)} records, fewer than the {count} "
            "of --labelled."
        )
    count = count or len(named)
    rest = named[count:] + list(read_records(patterns[1:]))
    if not rest:
        raise errors.DataError(
            f"All {count} records of {patterns[0]} are labelled, and there are "
            "no further images. Give them by --unlabelled, or fewer --labelled."
        )
    hidden = [record for _, record in rest if has_label(record)]
    parts = {
        "labelled": [record for _, record in named[:count]],
        "unlabelled": [remove_label(record) for _, record in rest],
        "hidden": hidden,
    }
    for name, records in parts.items():
        if records:
            writer.write_shards(
                records, len(records), str(folder), name, 1, overwrite=True
            )
    counts = {name: len(records) for name, records in parts.items()}
    json_files.write_json(done, {**counts, "patterns": list(patterns)})
    return counts


def read_records(patterns: Sequence[str]) -> Iterator[tuple[str, bytes]]:
    """Yields name and content of records.

    Raises:
        DataError: There is no such file, or one is damaged.
    """
    from deeplab2_like.data.records import files, headers

    for file in (
        files.scan_files(files.find_files(patterns)) if patterns else ()
    ):
        for place in zip(file.offsets, file.lengths, strict=True):
            record = headers.read_record(file.path, *map(int, place))
            yield headers.read_name(record), record


def check_apart(patterns: Sequence[str], val: str) -> None:
    """Checks that no image to learn from is one of validation.

    Args:
        patterns: Patterns of the records to learn from.
        val: Pattern of the records of validation.

    Raises:
        DataError: An image is in both, or there is no such file.
    """
    from deeplab2_like.console import progress
    from deeplab2_like.data import held_out, same_images
    from deeplab2_like.data.records import files

    places = same_images.list_records(files.find_files(patterns))
    held_out.check_apart(
        [val],
        lambda known: known.find(places),
        held_out.Texts(
            "--train and --unlabelled",
            f"--val={val}",
            "Remove them from one of the two.",
        ),
        progress.Progress(),
    )


def has_label(record: bytes) -> bool:
    """Returns whether a record has a label."""
    import tensorflow as tf

    from deeplab2_like.data.records import features

    return (
        features.LABEL in tf.train.Example.FromString(record).features.feature
    )


def remove_label(record: bytes) -> bytes:
    """Returns a record without its label."""
    import tensorflow as tf

    from deeplab2_like.data.records import features

    example = tf.train.Example.FromString(record)
    for key in (features.LABEL, features.LABEL_FORMAT):
        if key in example.features.feature:
            del example.features.feature[key]
    return example.SerializeToString(deterministic=True)


@dataclasses.dataclass(frozen=True)
class LabelQuality:
    """Pseudo labels, compared with the true ones.

    Attributes:
        num_images: Images that were compared.
        summaries: PQ, PQ_things, PQ_stuff and mIoU, in 0..1.
        shares: Share of the pixels in each of `BINS` of probability.
        accuracies: Share of them whose class is right; None without a pixel.
    """

    num_images: int
    summaries: dict[str, float]
    shares: list[float]
    accuracies: list[float | None]


def score_labels(
    teacher: pathlib.Path,
    views: tuple[Sequence[float], bool],
    pattern: str,
) -> LabelQuality:
    """Labels images whose labels are known by a teacher, and scores them.

    Args:
        teacher: Folder of the training of the teacher.
        views: Scales, and whether images are mirrored too.
        pattern: Pattern of records with labels that the teacher did not see.
    """
    from deeplab2_like.config import run_config
    from deeplab2_like.data import checks, pipeline
    from deeplab2_like.data.records import files
    from deeplab2_like.metrics.mean_iou import MeanIoU
    from deeplab2_like.metrics.panoptic_quality import PanopticQuality
    from deeplab2_like.naive_student.labeller import LiveLabeller

    config = run_config.load_checked(str(teacher))
    labeller = LiveLabeller(config.options, str(teacher), views)
    data = labeller.descriptor
    load = checks.make_loader(pipeline.LabelRules.from_descriptor(data))
    quality, iou = PanopticQuality(data), MeanIoU(data)
    total = np.zeros(len(BINS), np.int64)
    right = np.zeros(len(BINS), np.int64)
    num_images = 0
    for path in files.find_files(pattern):
        for offset in files.scan_file(path).offsets.tolist():
            image, truth = load(path, offset)
            if truth is None:
                continue
            found = labeller.label(image)
            if found.confidence is None:
                sys.exit("The teacher has no probabilities.")
            quality.update(truth, found.panoptic)
            true_class = truth // data.label_divisor
            classes = found.panoptic // data.label_divisor
            iou.update(true_class, classes)
            is_known = true_class != data.ignore_label
            bins = np.searchsorted(BINS, found.confidence, side="right") - 1
            total += np.bincount(bins[is_known], minlength=len(BINS))
            is_right = is_known & (classes == true_class)
            right += np.bincount(bins[is_right], minlength=len(BINS))
            num_images += 1
    summaries = {**quality.result().scalars(), **iou.result().scalars()}
    pixels = max(1, int(total.sum()))
    return LabelQuality(
        num_images,
        {key: float(value) for key, value in summaries.items()},
        (total / pixels).tolist(),
        [
            int(r) / int(t) if t else None
            for r, t in zip(right, total, strict=True)
        ],
    )
