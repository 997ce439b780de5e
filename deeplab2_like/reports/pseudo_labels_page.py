# SPDX-License-Identifier: Apache-2.0
"""The page about pseudo labels: HTML text."""

from deeplab2_like.reports import frame, tables
from deeplab2_like.reports.data_page import Tile
from deeplab2_like.reports.pseudo_labels import PseudoLabelReport, PseudoLabels

_NOT_KNOWN = "the model does not say"
_ONE_VIEW = "there is one view"
_ABSENT = "the class does not occur"


def render(report: PseudoLabelReport) -> str:
    """Returns the page about pseudo labels as HTML text."""
    labels = report.labels
    return frame.render(
        "pseudo_labels_page.html",
        report=report,
        labels=labels,
        facts=[("Model", labels.model), ("Records", f"{labels.split}-*")],
        tiles=_make_tiles(labels),
        class_table=_make_class_table(labels),
        view_table=_make_view_table(labels),
    )


def _make_tiles(labels: PseudoLabels) -> list[Tile]:
    num, percent = tables.format_count, tables.format_percent
    left_out = len(labels.failures)
    return [
        Tile(
            "Images",
            num(len(labels.images)),
            f"{num(left_out)} left out",
            "worse" if left_out else "",
        ),
        Tile(
            "Objects",
            num(labels.num_instances),
            f"{labels.num_instances / max(1, len(labels.images)):.1f} an image",
        ),
        Tile("Void", f"{percent(labels.void)} %", "pixels without a label"),
        Tile(
            "Probability",
            percent(labels.mean_confidence),
            "mean over the pixels of labels, in percent",
        ),
        Tile(
            "Agreement",
            percent(labels.mean_iou),
            "mIoU of each view with the average of views, in percent",
        ),
    ]


def _make_class_table(labels: PseudoLabels) -> tables.Table:
    total = max(1, sum(one.pixels for one in labels.classes))
    rows = [
        tables.Row(
            (
                tables.name(one.name),
                tables.percent(one.pixels / total, has_bar=True),
                tables.count(one.images),
                tables.count(one.instances),
                tables.percent(
                    one.confidence, _NOT_KNOWN if one.pixels else _ABSENT
                ),
                tables.percent(one.threshold),
                tables.percent(
                    one.iou, _ABSENT if len(labels.views) > 1 else _ONE_VIEW
                ),
            )
        )
        for one in labels.classes
    ]
    return tables.Table(
        "classes",
        "Pseudo labels by class, in percent where no count",
        (
            tables.Column("Class", is_number=False),
            tables.Column("Pixels", "share of the pixels with a label"),
            tables.Column("Images", "images in which it occurs"),
            tables.Column("Objects"),
            tables.Column("Probability", "mean over the pixels of the class"),
            tables.Column("Threshold", "least probability of a label"),
            tables.Column("Agreement", "IoU of each view with the average"),
        ),
        tuple(rows),
    )


def _make_view_table(labels: PseudoLabels) -> tables.Table:
    rows = [
        tables.Row(
            (
                tables.name(
                    f"scale {view.scale:g}"
                    + (", mirrored" if view.is_mirrored else "")
                ),
                tables.percent(view.equal, _ONE_VIEW),
            )
        )
        for view in labels.views
    ]
    return tables.Table(
        "views",
        "Pixels whose class is that of the average of all views, in percent",
        (
            tables.Column("View", is_number=False),
            tables.Column("Equal pixels", "mean over images"),
        ),
        tuple(rows),
    )
