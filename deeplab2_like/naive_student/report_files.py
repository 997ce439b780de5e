# SPDX-License-Identifier: Apache-2.0
"""Writes what is known of pseudo labels: a JSON file and a page."""

import dataclasses
import json
import pathlib
from collections.abc import Sequence
from typing import Any

from deeplab2_like.data import checks, pipeline
from deeplab2_like.data.inspection import texts
from deeplab2_like.data.records import files as record_files
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.model.multi_scale import View
from deeplab2_like.naive_student.image_facts import ImageFacts, Totals
from deeplab2_like.naive_student.label_options import LabelOptions
from deeplab2_like.naive_student.unlabeled import Failure
from deeplab2_like.recipes.inspection import samples
from deeplab2_like.recipes.published.shards import Plan
from deeplab2_like.reports import pseudo_labels
from deeplab2_like.reports.data_check import SampleImage
from deeplab2_like.storage import json_files, whole_files

# Of the samples, the share that is of the least sure images.
_DOUBTFUL_SHARE = 0.5
# What the images were compared with, in the JSON file.
COMPARED_WITH = "compared_with"


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is the same for all images.

    Attributes:
        descriptor: The data set.
        options: How images were labelled.
        settings: Checksum of what the labels depend on.
        model: The model that labelled.
        views: The views that were averaged.
        thresholds: Least probability of each class.
        failures: What was left out.
        compared_with: Checksum of the validation set that images were
            compared with; "" for none.
    """

    descriptor: DatasetDescriptor
    options: LabelOptions
    settings: str
    model: str
    views: Sequence[View]
    thresholds: Sequence[float]
    failures: Sequence[Failure]
    compared_with: str = ""


def name_json(split: str) -> str:
    """Returns the name of the JSON file."""
    return f"{split}.report.json"


def name_page(split: str) -> str:
    """Returns the name of the page."""
    return f"{split}.report.html"


def read(path: pathlib.Path) -> dict[str, Any] | None:
    """Returns the content of a JSON file; None where there is none."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return content if isinstance(content, dict) else None
    except (OSError, ValueError, RecursionError):
        return None


def load(
    folder: pathlib.Path, split: str, settings: str
) -> dict[str, Any] | None:
    """Returns an earlier report of the same settings; None if there is none.

    Args:
        folder: Folder of the records.
        split: Names of record files begin with it.
        settings: Checksum of what the labels depend on.
    """
    content = read(folder / name_json(split))
    if content is None or content.get("settings") != settings:
        return None
    return content if (folder / name_page(split)).exists() else None


def write(
    folder: pathlib.Path,
    plan: Plan,
    images: Sequence[ImageFacts],
    facts: Facts,
) -> dict[str, Any]:
    """Writes the report, each file completely or not at all.

    Args:
        folder: Folder of the records.
        plan: Which image is in which shard.
        images: Facts of the images, in the order of the records.
        facts: What is the same for all.

    Returns:
        The content of the JSON file.
    """
    labels = _collect(images, facts)
    metrics = json_files.to_plain(labels.to_metrics())
    drawn, colors = _draw(folder, plan, images, facts)
    page = _render(
        pseudo_labels.PseudoLabelReport(labels, metrics, drawn, colors)
    )
    split = facts.options.split
    whole_files.write_text(folder / name_page(split), page)
    content = {**metrics, COMPARED_WITH: facts.compared_with}
    json_files.write_json(folder / name_json(split), content)
    return content


def _render(report: pseudo_labels.PseudoLabelReport) -> str:
    from deeplab2_like.reports import pseudo_labels_page

    return pseudo_labels_page.render(report)


def _collect(
    images: Sequence[ImageFacts], facts: Facts
) -> pseudo_labels.PseudoLabels:
    """Adds up what is known of images."""
    data = facts.descriptor
    total = Totals.add_up(images)
    views = []
    for place, view in enumerate(facts.views):
        equal = [one.equal[place] for one in images if one.equal]
        mean = sum(equal) / len(equal) if equal else None
        views.append(
            pseudo_labels.ViewAgreement(view.scale, view.is_mirrored, mean)
        )
    classes = []
    for index, name in enumerate(data.class_names):
        if index == data.ignore_label:
            continue
        confidence = None
        if index in total.confidence and total.pixels[index]:
            confidence = total.confidence[index] / total.pixels[index]
        classes.append(
            pseudo_labels.ClassLabels(
                name,
                data.is_thing(index),
                total.pixels[index],
                total.images[index],
                total.instances[index],
                confidence,
                facts.thresholds[index],
                total.iou(index),
            )
        )
    return pseudo_labels.PseudoLabels(
        split=facts.options.split,
        model=facts.model,
        settings=facts.settings,
        views=tuple(views),
        void=total.void_share,
        mean_iou=total.mean_iou,
        classes=tuple(classes),
        images=tuple(_describe_image(one) for one in images),
        failures=tuple(
            (texts.make_writable(one.source), texts.make_writable(one.problem))
            for one in facts.failures
        ),
    )


def _describe_image(image: ImageFacts) -> pseudo_labels.ImageLabels:
    height, width = image.size
    return pseudo_labels.ImageLabels(
        texts.make_writable(image.name),
        height,
        width,
        sum(image.instances.values()),
        image.void / (height * width),
        image.mean_confidence,
        image.mean_equal,
    )


def choose_samples(
    images: Sequence[ImageFacts], count: int
) -> list[tuple[int, str]]:
    """Chooses images to look at: place and reason of each.

    Args:
        images: Facts of the images.
        count: Most images.

    Returns:
        First those whose views agree least, or of least probability; then
        others, spread over the data, with the reason "".
    """
    chosen: dict[int, str] = {}
    ranked = sorted(
        (value, place, reason)
        for place, image in enumerate(images)
        for value, reason in [_rate(image)]
        if reason
    )
    for _, place, reason in ranked[: int(count * _DOUBTFUL_SHARE)]:
        chosen[place] = reason
    others = [place for place in range(len(images)) if place not in chosen]
    left = min(count - len(chosen), len(others))
    for number in range(left):
        chosen[others[int((number + 0.5) * len(others) / left)]] = ""
    return [*chosen.items()]


def _rate(image: ImageFacts) -> tuple[float, str]:
    """Returns how sure a label is, and what says so; "" if nothing does."""
    if image.mean_equal is not None:
        return (
            image.mean_equal,
            f"views agree in {100 * image.mean_equal:.1f} % of the pixels",
        )
    if image.mean_confidence is not None:
        return (
            image.mean_confidence,
            f"mean probability {100 * image.mean_confidence:.1f} %",
        )
    return 0.0, ""


def _draw(
    folder: pathlib.Path,
    plan: Plan,
    images: Sequence[ImageFacts],
    facts: Facts,
) -> tuple[list[SampleImage], list[tuple[str, samples.Color]]]:
    """Draws samples from the records that were written."""
    data = facts.descriptor
    load_record = checks.make_loader(pipeline.LabelRules.from_descriptor(data))
    places = [
        (str(folder / name), number)
        for name, part in zip(plan.names, plan.parts, strict=True)
        for number in range(len(part))
    ]
    drawn = []
    colors: dict[str, samples.Color] = {}
    for place, reason in choose_samples(images, facts.options.num_samples):
        path, number = places[place]
        offset = int(record_files.scan_file(path).offsets[number])
        image_hw3, label_hw = load_record(path, offset)
        pictures, found = samples.draw_pictures(image_hw3, label_hw, data)
        colors |= found
        drawn.append(
            SampleImage(
                texts.make_writable(images[place].name),
                facts.options.split,
                reason,
                texts.make_writable(samples.describe(label_hw, data)),
                pictures,
            )
        )
    order = {name: index for index, name in enumerate(data.class_names)}
    listed = sorted(
        colors.items(), key=lambda item: order.get(item[0], len(order))
    )
    return drawn, [(texts.make_writable(one), rgb) for one, rgb in listed]
