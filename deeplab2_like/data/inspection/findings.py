# SPDX-License-Identifier: Apache-2.0
"""What a user should look at in a data set, first things first."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np

from deeplab2_like.data.inspection import image_names, texts
from deeplab2_like.data.inspection.collector import (
    MAX_SENTENCES,
    Collector,
    Sentences,
)
from deeplab2_like.data.inspection.duplicates import Twins
from deeplab2_like.reports.data_check import (
    LEVELS,
    NOTE,
    PROBLEM,
    WARNING,
    Finding,
)
from deeplab2_like.results import raw_predictions

# Fewer images of a class than this are said to be few.
_FEW_IMAGES = 5
_MUCH_VOID = 0.5
# Side of a square of the area of a tiny instance, pixels, as a power of two.
_TINY_SIDE = 2
_MANY_TINY = 0.1


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What findings are derived from.

    Attributes:
        collector: The images that could be read.
        equal: Equal images.
        near: Images that look nearly equal.
        problems: Sentences about what cannot be used.
        remarks: Sentences that the reader of the data wrote, "Warning: ..." or
            "Check: ...".
        is_quick: Whether only headers and names were read.
        is_sample: Whether only a part of the images was read.
        checks_names: Whether names that occur twice are looked for.
    """

    collector: Collector
    equal: Twins
    near: Twins
    problems: Sentences = dataclasses.field(default_factory=Sentences)
    remarks: Sequence[str] = ()
    is_quick: bool = False
    is_sample: bool = False
    checks_names: bool = True


def list_findings(evidence: Evidence) -> tuple[Finding, ...]:
    """Lists what was found, problems first, then warnings, then notes."""
    found = [
        *_list_problems(evidence),
        *_list_twins(evidence),
        *_list_absent(evidence),
        *_list_images(evidence.collector),
        *_list_names(evidence.collector),
        *_list_instances(evidence.collector),
        *_list_remarks(evidence),
    ]
    found.sort(key=lambda one: LEVELS.index(one.level))
    return tuple(
        dataclasses.replace(
            one,
            title=texts.make_writable(one.title),
            examples=tuple(map(texts.make_writable, one.examples)),
        )
        for one in found
    )


def _make(
    level: str, title: str, advice: str, examples: Sequence[str]
) -> Finding:
    return Finding(
        level, title, advice, tuple(examples[:MAX_SENTENCES]), len(examples)
    )


def count_images(count: int) -> str:
    """Returns "1 image" or "5 images"."""
    return f"{count} image" if count == 1 else f"{count} images"


def _list_problems(evidence: Evidence) -> Iterator[Finding]:
    problems = evidence.problems
    if problems.count:
        what = (
            "1 problem"
            if problems.count == 1
            else (f"{problems.count} problems")
        )
        yield Finding(
            PROBLEM,
            f"{what} in files and labels.",
            "Records cannot be written, or training stops, until each is "
            "corrected.",
            tuple(problems.first),
            problems.count,
        )
    twice = [
        f"{name} ({count} times in {split})"
        for number, split in enumerate(evidence.collector.splits)
        for name, count in _count_names(evidence.collector, number).items()
        if count > 1
    ]
    if twice and evidence.checks_names:
        yield _make(
            PROBLEM,
            f"{len(twice)} image names are used more than once in a split.",
            "Names must differ: predictions are stored under them.",
            twice,
        )


def _count_names(collector: Collector, number: int) -> Counter[str]:
    return Counter(
        name
        for name, split in zip(
            collector.names, collector.image_splits, strict=True
        )
        if split == number
    )


def _list_twins(evidence: Evidence) -> Iterator[Finding]:
    collector = evidence.collector
    names, splits = collector.names, collector.image_splits

    def describe(pairs: np.ndarray) -> list[str]:
        return [
            f"{names[j]} ({collector.splits[splits[j]]}) and {names[i]} "
            f"({collector.splits[splits[i]]})"
            for i, j in pairs
        ]

    what = "content of the file" if evidence.is_quick else "pixels"
    equal, near = evidence.equal, evidence.near
    if len(equal.between):
        yield _make(
            WARNING,
            f"{count_images(len(equal.between))} of a split "
            f"{_occur(equal.between)} in an earlier split, too (the same "
            f"{what}).",
            "A model is scored on images that it was trained on: scores are "
            "too high. Remove them from one of the splits.",
            describe(equal.between),
        )
    if len(near.between):
        yield _make(
            WARNING,
            f"{count_images(len(near.between))} of a split "
            f"{'looks' if len(near.between) == 1 else 'look'} nearly like an "
            "image of an earlier split.",
            "Copies of another size or quality, or neighboring frames of a "
            "video, in both splits make scores too high. Look at the pairs; if "
            "they show the same scene, move them to one split.",
            describe(near.between),
        )
    if len(equal.within):
        yield _make(
            WARNING,
            f"{count_images(len(equal.within))} {_occur(equal.within)} more "
            f"than once in a split (the same {what}).",
            "They count twice in training and scores.",
            describe(equal.within),
        )
    pairs = np.concatenate([equal.between, equal.within])
    labels = collector.label_digests[pairs]
    other = pairs[labels[:, 0] != labels[:, 1]]
    if len(other):
        yield _make(
            WARNING,
            f"{count_images(len(other))} {_occur(other)} again with another "
            "label.",
            "The labels of equal images contradict each other: classes, "
            "outlines or the number of objects differ.",
            describe(other),
        )
    if len(near.within):
        yield _make(
            NOTE,
            f"{count_images(len(near.within))} "
            f"{'looks' if len(near.within) == 1 else 'look'} nearly like "
            "another image of the split.",
            "Frames of a video are like that. Images that teach nothing new "
            "may be left out.",
            describe(near.within),
        )


def _occur(pairs: np.ndarray) -> str:
    return "occurs" if len(pairs) == 1 else "occur"


def _list_absent(evidence: Evidence) -> Iterator[Finding]:
    collector = evidence.collector
    data = collector.descriptor
    classes = [i for i in range(data.num_classes) if i != data.ignore_label]
    if not collector.has_labels or evidence.is_sample:
        return

    def name(indices: Sequence[int]) -> list[str]:
        return [data.class_names[index] for index in indices]

    def choose(is_meant: np.ndarray) -> list[int]:
        return [index for index in classes if is_meant[index]]

    total = collector.pixels.sum(0)
    absent = choose(total == 0)
    if absent:
        yield _make(
            WARNING,
            f"{len(absent)} of {len(classes)} classes do not occur.",
            "Trained on these images, a model learns nothing about them; "
            "evaluated on them, they are not scored.",
            name(absent),
        )
    used = [i for i, count in enumerate(collector.num_images) if count]
    for split in used if len(used) > 1 else []:
        missing = choose((collector.pixels[split] == 0) & (total > 0))
        if not missing:
            continue
        advice = "They are not scored. Move some of their images here."
        if split == 0:
            advice = (
                "Nothing is learned about them, and they are scored as 0. Move "
                "some of their images here."
            )
        yield _make(
            WARNING,
            f"{len(missing)} classes do not occur in {collector.splits[split]} "
            "but elsewhere.",
            advice,
            name(missing),
        )
    few = choose(
        (collector.images[0] > 0) & (collector.images[0] < _FEW_IMAGES)
    )
    if few and collector.num_images[0] >= 2 * _FEW_IMAGES:
        yield _make(
            NOTE,
            f"{len(few)} classes are in fewer than {_FEW_IMAGES} images of "
            f"{collector.splits[0]}.",
            "They are hard to learn. docs/rare_classes.md lists what helps.",
            [
                f"{data.class_names[i]} ({collector.images[0][i]})"
                for i in sorted(few, key=lambda i: collector.images[0][i])
            ],
        )


def _list_images(collector: Collector) -> Iterator[Finding]:
    void = collector.void_shares

    def name(rows: np.ndarray) -> list[str]:
        return [collector.names[row] for row in rows.tolist()]

    empty = np.flatnonzero(void >= 1)
    if len(empty):
        yield _make(
            WARNING,
            f"{count_images(len(empty))} without a labeled pixel.",
            "Nothing is learned from them and nothing is scored. Label them, "
            "or leave them out.",
            name(empty),
        )
    much = np.flatnonzero((void > _MUCH_VOID) & (void < 1))
    much = much[np.argsort(-void[much], kind="stable")]
    if len(much):
        yield _make(
            NOTE,
            f"{count_images(len(much))} with more void than labeled pixels.",
            "What is void is neither learned nor scored.",
            [
                f"{collector.names[i]} ({100 * void[i]:.0f} %)"
                for i in much.tolist()
            ],
        )
    plain = np.flatnonzero(collector.is_uniform)
    if len(plain):
        yield _make(
            WARNING,
            f"{count_images(len(plain))} of one color only.",
            "They are often failed exports or downloads.",
            name(plain),
        )
    if collector.num_turned:
        yield Finding(
            NOTE,
            f"{collector.num_turned} image files have an EXIF orientation.",
            "docs/data.md says when photos are turned.",
            count=collector.num_turned,
        )
    notes = collector.notes
    if notes.count:
        yield Finding(
            NOTE,
            f"{count_images(notes.count)} of which something is left out.",
            "",
            tuple(notes.first),
            notes.count,
        )


def _list_names(collector: Collector) -> Iterator[Finding]:
    pairs = [(name, image_names.find_trouble(name)) for name in collector.names]
    trouble = [f"{name!r} {what}" for name, what in pairs if what]
    if trouble:
        yield _make(
            WARNING,
            f"{len(trouble)} image names make trouble on some systems.",
            "Predictions are files of these names. Rename the images.",
            trouble,
        )
    alike = [
        f"{first} and {second}"
        for number in range(len(collector.splits))
        for first, second in image_names.find_alike(
            [*_count_names(collector, number)]
        )
    ]
    if alike:
        yield _make(
            WARNING,
            f"{len(alike)} image names differ from others in capital letters "
            "only.",
            "On disks that do not tell them apart one prediction replaces the "
            "other. Rename the images.",
            alike,
        )


def _list_instances(collector: Collector) -> Iterator[Finding]:
    many = raw_predictions.describe_many_instances(collector.most_of_class)
    if many:
        most = int(collector.instance_counts.argmax())
        yield _make(WARNING, many, "", [collector.names[most]])
    total = int(collector.sides.sum())
    tiny = int(collector.sides[:_TINY_SIDE].sum())
    if total and tiny > _MANY_TINY * total:
        yield Finding(
            NOTE,
            f"{100 * tiny / total:.0f} % of the objects have fewer than "
            f"{4**_TINY_SIDE} pixels.",
            "A network's outputs have a quarter of the resolution of the "
            "image: such objects are a pixel there. Larger images help, or "
            "errors of labels made them.",
            count=tiny,
        )
    crowds = int(collector.crowds.sum())
    if crowds:
        yield Finding(
            NOTE,
            f"{crowds} segments of thing classes are crowds: groups that are "
            "not counted one by one.",
            "They are neither learned as objects nor scored.",
            count=crowds,
        )


def _list_remarks(evidence: Evidence) -> Iterator[Finding]:
    for remark in evidence.remarks:
        kind, colon, text = remark.partition(": ")
        if colon and kind in ("Warning", "Check"):
            level = WARNING if kind == "Warning" else NOTE
            yield Finding(level, text)
        else:
            yield Finding(NOTE, remark)
