# SPDX-License-Identifier: Apache-2.0
"""manifest.json beside the records: counts, and what they were made of."""

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.data.coco.records import Summary
from deeplab2_like.data.records import writer as record_writer
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.published import manifest_file
from deeplab2_like.recipes.published.shard_counts import ShardCounts
from deeplab2_like.recipes.published.shards import Plan
from deeplab2_like.storage import json_files

FILE = manifest_file.FILE


def load_splits(folder: pathlib.Path) -> dict[str, Any]:
    """Returns the splits of a manifest; {} where there is none or no such."""
    return dict(manifest_file.load(folder).get("splits", {}))


def is_complete(plan: Plan) -> bool:
    """Returns whether the shards of a split are there, of the same files.

    Args:
        plan: The shards.

    Raises:
        errors.DataError: They were written so, but are damaged.
    """
    target = plan.target
    try:
        stored = load_splits(target.folder)[target.split]["shards"]
        if {name: one["fingerprint"] for name, one in stored.items()} != dict(
            zip(plan.names, plan.fingerprints, strict=True)
        ):
            return False
        digests = {name: str(one["sha256"]) for name, one in stored.items()}
    except (KeyError, TypeError, AttributeError):
        return False
    for name, digest in digests.items():
        path = target.folder / name
        if not path.exists():
            problem = "is missing"
        elif record_writer.compute_sha256(str(path)) != digest:
            problem = f"differs from its checksum in {FILE}"
        else:
            continue
        raise errors.DataError(
            f"{str(path)!r} {problem}: it was damaged, replaced or removed "
            "after it was written. Add --overwrite to write the split again."
        )
    return True


def store(
    plan: Plan,
    counts: Sequence[ShardCounts],
    summary: Summary,
    descriptor: DatasetDescriptor,
    facts: Mapping[str, Any],
) -> None:
    """Adds a split to the manifest.

    Args:
        plan: The shards.
        counts: Counts of each.
        summary: Counts of all.
        descriptor: The data set.
        facts: What else is noted about the data.
    """
    target = plan.target
    names = dict(enumerate(descriptor.class_names))
    pixels = {
        names.get(index, "void"): count
        for index, count in sorted(summary.pixels.items())
        if index != descriptor.ignore_label
    }
    split = {
        "images": summary.num_images,
        "crowds": summary.num_crowds,
        "void_pixels": summary.pixels[descriptor.ignore_label],
        "instances": {
            names[index]: count
            for index, count in sorted(summary.instances.items())
        },
        "pixels": pixels,
        "shards": {
            name: {
                "sha256": one.sha256,
                "bytes": (target.folder / name).stat().st_size,
                "images": one.summary.num_images,
                "fingerprint": one.fingerprint,
            }
            for name, one in zip(plan.names, counts, strict=True)
        },
    }
    splits = load_splits(target.folder) | {target.split: split}
    content = {
        "format": manifest_file.FORMAT,
        **facts,
        "splits": dict(sorted(splits.items())),
    }
    json_files.write_json(target.folder / FILE, content)
