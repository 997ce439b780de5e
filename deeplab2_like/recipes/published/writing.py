# SPDX-License-Identifier: Apache-2.0
"""Writes a split of a published data set, and what is beside its records."""

from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.console import progress, version
from deeplab2_like.data import class_pixels
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.published import (
    manifest,
    sets,
    shard_counts,
    shards,
)
from deeplab2_like.recipes.published.items import Item, Request


def write_split(
    request: Request,
    split: str,
    items: Sequence[Item],
    descriptor: DatasetDescriptor,
    *,
    write_missing: shards.WriteMissing,
    report: progress.Progress,
    form: str,
) -> list[str]:
    """Writes a split, or what is missing of it.

    Args:
        request: What the user asked for; with a folder to write.
        split: Name of the split.
        items: Its images.
        descriptor: The data set.
        write_missing: Writes the shards that are not there.
        report: Display of the progress.
        form: Form of the labels.

    Returns:
        Lines for the user.

    Raises:
        errors.DataError: See `shards.write_split`.
    """
    if request.out is None:
        raise ValueError("There is no folder to write to.")
    request.out.mkdir(parents=True, exist_ok=True)
    count = request.num_shards or sets.find_set(request.key).num_shards
    crowd = "void" if request.treat_crowd_as_ignore else "kept"
    plan = shards.Plan.make(
        items,
        descriptor,
        shards.Target(
            request.out,
            split,
            count,
            request.overwrite,
            f"{request.key} {form}, crowds {crowd}",
        ),
    )
    try:
        if manifest.is_complete(plan):
            shards.remove_work(plan.target)
            return [
                f"Split {split!r} is complete already: checksums are right."
            ]
    except errors.DataError:
        if not request.overwrite:
            raise
    with report.phase(f"Writing {split}", len(items), unit="images") as phase:
        counts = shards.write_split(
            plan, descriptor, write_missing, phase.advance
        )
    paths = [str(request.out / name) for name in plan.names]
    summary = shard_counts.add_up(counts, paths)
    manifest.store(
        plan,
        counts,
        summary,
        descriptor,
        {
            "data_set": request.key,
            "dataset": descriptor.name,
            "label_divisor": descriptor.label_divisor,
            "ignore_label": descriptor.ignore_label,
            "package": version.VERSION,
        },
    )
    pixels = {
        path: one.pixels
        for path, one in zip(paths, counts, strict=True)
        if one.pixels is not None
    }
    class_pixels.store_counts(pixels, descriptor)
    shards.remove_work(plan.target)
    lines = summary.describe(descriptor)
    return [f"Split {split!r}: {lines[0]}", *lines[1:]]
