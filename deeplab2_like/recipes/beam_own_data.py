# SPDX-License-Identifier: Apache-2.0
"""Writes own data as records by a pipeline; see `beam_shards`.

The files are those of deeplab2-prepare with --write, byte by byte.
"""

import hashlib
import itertools
import os
import pathlib
from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.config import textproto
from deeplab2_like.console import progress
from deeplab2_like.data import class_pixels
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes import (
    contact_sheet,
    conversion,
    forms,
    out_folder,
    preparing,
)
from deeplab2_like.recipes.forms import tree
from deeplab2_like.recipes.forms.source import Example
from deeplab2_like.recipes.published import shard_counts, shards
from deeplab2_like.recipes.published.items import Item
from deeplab2_like.storage import file_identity, user_paths


def prepare(
    request: forms.Request,
    out: pathlib.Path,
    write_missing: shards.WriteMissing,
    *,
    num_shards: int = 0,
    overwrite: bool = False,
    report: progress.Progress | None = None,
) -> list[str]:
    """Writes descriptor, records and a picture of three images.

    Args:
        request: Where the data are.
        out: Folder to write. What an earlier call did not finish goes on.
        write_missing: Writes shards.
        num_shards: Files for each split; 0 for as many as deeplab2-prepare
            writes.
        overwrite: Whether files of an earlier call are replaced.
        report: Display of the progress; on standard error when None.

    Returns:
        Lines for the user.

    Raises:
        errors.DataError: The data cannot be used, or leave a question open.
        errors.ConfigError: `out` is refused.
    """
    report = report or progress.Progress()
    records = out / out_folder.RECORDS_FOLDER
    is_unfinished = any(records.glob(".*.partial"))
    out_folder.check(out, overwrite=overwrite or is_unfinished)
    contact_sheet.check(out / out_folder.PICTURE_FILE)
    source = forms.find_source(request)
    if source.question:
        raise errors.DataError(source.question)
    records.mkdir(parents=True, exist_ok=True)
    descriptor, remarks = conversion.write_descriptor(
        source,
        out,
        conversion.name_data(request),
        out_folder.PREPARE_SIGNATURE,
    )
    splits, rule = conversion.split_examples(
        source.list_examples(
            descriptor, lambda text: remarks.append(f"Warning: {text}")
        )
    )
    settings = _describe_files(
        request, out, [*itertools.chain.from_iterable(splits.values())]
    )
    lines = [f"Found     {source.title}"]
    lines += [f"Evaluate  {rule}"] if rule else []
    plans = []
    for split, examples in splits.items():
        target = shards.Target(
            records,
            split,
            num_shards or conversion.count_shards(len(examples)),
            overwrite or is_unfinished,
            settings,
        )
        plan = shards.Plan.make(_make_items(examples), descriptor, target)
        plans.append(plan)
        lines += _write_split(plan, descriptor, write_missing, report)
    examples = [*itertools.chain.from_iterable(splits.values())]
    preparing.draw_samples(examples, descriptor, out)
    for plan in plans:
        shards.remove_work(plan.target)
    beginning = user_paths.escape_pattern(records)
    return [
        *lines,
        *dict.fromkeys(remarks),
        f"Written to {out}. For a config:",
        f"  dataset: {textproto.quote(str(out / out_folder.DATASET_FILE))}",
        *(
            "  file_pattern: "
            f"{textproto.quote(f'{beginning}/{split}-*.tfrecord')}"
            for split in splits
        ),
    ]


def _make_items(examples: Sequence[Example]) -> list[Item]:
    return [
        Item(
            example.name,
            example.load,
            tuple(filter(None, (example.path, example.label_path))),
        )
        for example in examples
    ]


def _write_split(
    plan: shards.Plan,
    descriptor: DatasetDescriptor,
    write_missing: shards.WriteMissing,
    report: progress.Progress,
) -> list[str]:
    target = plan.target
    count = sum(map(len, plan.parts))
    with report.phase(f"Writing {target.split}", count, unit="images") as phase:
        counts = shards.write_split(
            plan, descriptor, write_missing, phase.advance
        )
    paths = [str(target.folder / name) for name in plan.names]
    class_pixels.store_counts(
        {
            path: one.pixels
            for path, one in zip(paths, counts, strict=True)
            if one.pixels is not None
        },
        descriptor,
    )
    lines = shard_counts.add_up(counts, paths).describe(descriptor)
    return [f"Split {target.split!r}: {lines[0]}", *lines[1:]]


def _describe_files(
    request: forms.Request, out: pathlib.Path, examples: Sequence[Example]
) -> str:
    """Returns a text that changes with the files that labels may be read from.

    Left out are hidden files, which no form reads, what this program writes to
    `out`, which may be or hold the folder of the data, and the files of single
    images, which their shard depends on.
    """
    digest = hashlib.sha256(repr(request).encode("utf-8", "surrogatepass"))
    own = {
        os.path.realpath(path)
        for example in examples
        for path in (example.path, example.label_path)
        if path
    }
    written = os.path.realpath(out)
    for path in _list_inputs(request):
        real = os.path.realpath(path)
        if real in own or out_folder.is_written(
            os.path.relpath(real, written).replace(os.sep, "/")
        ):
            continue
        line = f"{path} {file_identity.describe(path).version}\n"
        digest.update(line.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _list_inputs(request: forms.Request) -> list[str]:
    """Lists the files of all folders that the user named."""
    reading = request.reading
    folders = (
        request.root,
        request.image_dir,
        request.panoptic_dir,
        reading.label_dir,
        reading.instance_dir,
    )
    return [
        *(
            os.path.join(folder, name)
            for folder in folders
            if folder
            for name in tree.Tree.look(folder).files
        ),
        *([str(reading.classes)] if reading.classes else []),
    ]
