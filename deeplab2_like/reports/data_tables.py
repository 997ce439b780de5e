# SPDX-License-Identifier: Apache-2.0
"""The tables and charts of the page about data."""

from collections.abc import Sequence

from markupsafe import Markup

from deeplab2_like.reports import histograms, tables
from deeplab2_like.reports.data_check import DataCheck
from deeplab2_like.reports.tables import Cell, Row, Table

# Rows of a chart, and sizes of images that are listed.
MAX_DRAWN = 30
_MAX_SIZES = 100
_NO_OBJECTS = "stuff has no objects"
_NO_PIXELS = "the split has no labeled pixel"


def list_splits(check: DataCheck) -> list[int]:
    """Lists the numbers of the splits that have images."""
    return [i for i, split in enumerate(check.splits) if split.images]


def make_split_table(check: DataCheck) -> Table:
    """Makes the table of the splits."""
    rows = []
    for split in check.splits:
        void = split.void_pixels / split.pixels if split.pixels else None
        cells = [
            tables.name(split.name),
            tables.count(split.images),
        ]
        if check.has_labels:
            mean = split.instances / split.images if split.images else None
            cells += [
                tables.count(split.instances),
                Cell(tables.DASH, reason="there is no image")
                if mean is None
                else Cell(f"{mean:.1f}", mean),
                tables.count(split.crowds),
                tables.percent(void, "there is no label", has_bar=True),
            ]
        rows.append(cells)
    titles: list[str | tuple[str, str]] = ["Split", "Images"]
    if check.has_labels:
        titles += [
            ("Objects", "Things, crowds not counted"),
            ("an image", "Mean number of objects in an image"),
            ("Crowds", "Segments of things that are not counted one by one"),
            ("Void", "Percent of the pixels that have no class"),
        ]
    return Table(
        "splits",
        "Images and labels by split.",
        tables.make_columns(*titles),
        tables.make_rows(rows),
    )


def make_class_table(check: DataCheck) -> Table:
    """Makes the table of the classes, those of the most pixels first."""
    used = list_splits(check)
    totals = _count_pixels(check)
    rows = []
    for index in _order_classes(check):
        one = check.classes[index]
        cells = [
            tables.name(one.name),
            tables.name("thing" if one.is_thing else "stuff"),
        ]
        for i in used:
            share = one.pixels[i] / totals[i] if totals[i] else None
            cells.append(_share(share))
        cells += [_count(one.images[i]) for i in used]
        for i in used:
            cells.append(
                _count(one.instances[i])
                if one.is_thing
                else Cell(tables.DASH, reason=_NO_OBJECTS)
            )
        rows.append(cells)
    names = [check.splits[i].name for i in used]
    titles: list[str | tuple[str, str]] = ["Class", "Kind"]
    for what, words in (
        ("Pixels", "Share of the labeled pixels"),
        ("Images", "Images in which the class occurs"),
        ("Objects", "Things, crowds not counted"),
    ):
        titles += [(f"{what} {name}", f"{words}: {name}") for name in names]
    columns = list(tables.make_columns(*titles))
    columns[1] = tables.Column("Kind", is_number=False)
    return Table(
        "data-classes",
        "Classes by their share of the pixels.",
        tuple(columns),
        tables.make_rows(rows),
    )


def _share(share: float | None) -> Cell:
    if share is None:
        return Cell(tables.DASH, reason=_NO_PIXELS)
    tone = "" if share else "worse"
    return Cell(histograms.format_share(share), share, bar=share, tone=tone)


def _count(value: int) -> Cell:
    cell = tables.count(value)
    return cell if value else Cell(cell.text, cell.value, tone="worse")


def _count_pixels(check: DataCheck) -> list[int]:
    return [split.pixels - split.void_pixels for split in check.splits]


def _order_classes(check: DataCheck) -> list[int]:
    return sorted(
        range(len(check.classes)),
        key=lambda index: -sum(check.classes[index].pixels),
    )


def draw_classes(check: DataCheck) -> Markup:
    """Draws the share of each class in each split.

    Of more than `MAX_DRAWN` classes those of the fewest pixels are drawn.
    """
    used = list_splits(check)
    totals = _count_pixels(check)
    rows = []
    for index in _order_classes(check)[-MAX_DRAWN:]:
        one = check.classes[index]
        shares = [one.pixels[i] / max(1, totals[i]) for i in used]
        rows.append((one.name, shares))
    return histograms.draw_shares(
        "Share of the labeled pixels by class, on a logarithmic axis",
        [check.splits[i].name for i in used],
        rows,
    )


def draw_instances_per_image(check: DataCheck) -> Markup:
    """Draws how many objects images have."""
    ranges = _make_ranges(max(n for n, _ in check.instances_per_image))
    columns = []
    for low, high in ranges:
        count = sum(c for n, c in check.instances_per_image if low <= n <= high)
        label = str(low) if low == high else f"{low}\u2013{high}"
        columns.append((label, count, f"{label} objects: {count} images"))
    return histograms.draw_columns(
        "Images by their number of objects", "objects in an image", columns
    )


def _make_ranges(most: int) -> list[tuple[int, int]]:
    """Makes ranges: single numbers, or 0, 1, 2 to 3, 4 to 7, 8 to 15 ..."""
    if most <= 10:
        return [(n, n) for n in range(most + 1)]
    ranges = [(0, 0), (1, 1)]
    while ranges[-1][1] < most:
        low = ranges[-1][1] + 1
        ranges.append((low, 2 * low - 1))
    return ranges


def draw_instance_sides(check: DataCheck) -> Markup:
    """Draws how large objects are."""
    return histograms.draw_columns(
        "Objects by the side of a square of their area",
        "side of a square of the same area, pixels, from",
        [
            (str(low), count, f"{low} to {high} pixels: {count} objects")
            for low, high, count in check.instance_sides
        ],
    )


def make_size_table(check: DataCheck) -> Table:
    """Makes the table of the sizes of images, the most frequent first."""
    sizes = check.sizes[:_MAX_SIZES]
    rows = [
        Row(
            (
                tables.name(f"{height} \u00d7 {width}"),
                tables.count(count),
                tables.percent(count / max(1, check.num_good), has_bar=True),
                Cell(f"{width / max(1, height):.2f}", width / max(1, height)),
                Cell(
                    f"{height * width / 1e6:.2f}",
                    height * width / 1e6,
                ),
            )
        )
        for height, width, count in sizes
    ]
    more = len(check.sizes) - len(sizes)
    return Table(
        "sizes",
        "Sizes of images, the most frequent first."
        + (f" {more} more are in metrics.json." if more else ""),
        tables.make_columns(
            ("Height \u00d7 width", "In pixels"),
            "Images",
            ("Percent", "Share of the images"),
            ("Ratio", "Width divided by height"),
            ("Megapixels", "Millions of pixels"),
        ),
        tuple(rows),
    )


def describe_sizes(sizes: Sequence[tuple[int, int, int]]) -> str:
    """Describes the sizes of one image or more."""
    if len(sizes) == 1:
        height, width, _ = sizes[0]
        return f"All images are {height} high and {width} wide."
    heights = [height for height, _, _ in sizes]
    widths = [width for _, width, _ in sizes]
    return (
        f"{len(sizes)} sizes, {min(heights)} to {max(heights)} high and "
        f"{min(widths)} to {max(widths)} wide. Larger circles are more images; "
        "on the line images are square."
    )
