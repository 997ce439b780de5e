# SPDX-License-Identifier: Apache-2.0
"""Writes the records of a published data set, or says what is there of it."""

import contextlib
import dataclasses
import functools
import os
import pathlib
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from deeplab2_like import errors
from deeplab2_like.config import textproto
from deeplab2_like.console import native_logs, progress
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import json_values
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes import out_folder
from deeplab2_like.recipes.published import sets
from deeplab2_like.recipes.published.items import (
    Item,
    Listing,
    PublishedSet,
    Request,
    Split,
)
from deeplab2_like.recipes.published.pool import Pool
from deeplab2_like.storage import user_paths, whole_files

if TYPE_CHECKING:  # It loads TensorFlow.
    from deeplab2_like.recipes.published import shards


def prepare(
    request: Request,
    *,
    num_processes: int = 1,
    write_missing: "shards.WriteMissing | None" = None,
    report: progress.Progress | None = None,
) -> list[str]:
    """Writes the records that are asked for, or looks only.

    Args:
        request: What the user asked for.
        num_processes: Processes that load images.
        write_missing: Writes shards; by default this machine does it.
        report: Display of the progress; on standard error when None.

    Returns:
        Lines for the user.

    Raises:
        errors.DataError: Files are missing or cannot be used. Splits before
            the one of the error are written; what is done of that one is kept
            for the next call.
        errors.ConfigError: The data set has no such split or form.
    """
    report = report or progress.Progress()
    data = sets.find_set(request.key)
    splits = _choose_splits(data, request.splits)
    if request.form and request.form not in data.ways:
        raise errors.ConfigError(
            f"--from={request.form}: {data.title} is read from "
            f"{' or '.join(data.ways)}. Leave the flag out, or give one of "
            "these."
        )
    if not request.root.is_dir():
        raise errors.DataError(
            f"--root={request.root} is no folder. Give the folder into which "
            f"the archives of {data.title} were unpacked."
        )
    lines = [f"Found     {data.title} in {request.root}"]
    with _open_descriptor(data, request) as (name, descriptor):
        listed = [_list_split(request, data, s, descriptor) for s in splits]
        for one in listed:
            lines += one.describe()
        if request.out is None:
            return [*lines, "Nothing is written yet: give a folder with --out."]
        native_logs.load_tensorflow()
        from deeplab2_like.recipes.published import shards

        with Pool(num_processes) as pool:
            here = functools.partial(shards.write_here, pool=pool)
            lines += _write(
                request, listed, descriptor, write_missing or here, report
            )
    return [*lines, *_describe_config(name, request.out, splits)]


@dataclasses.dataclass(frozen=True)
class _Listed:
    """The images of a split.

    Attributes:
        split: The split.
        form: Form of the labels.
        items: The images.
        remarks: Sentences for the user.
    """

    split: Split
    form: str
    items: Sequence[Item]
    remarks: Sequence[str]

    def describe(self) -> list[str]:
        labels = (
            f"labels: {self.form}" if self.split.has_labels else "no labels"
        )
        count = len(self.items)
        lines = [f"Split     {self.split.name}: {count} images, {labels}"]
        lines += [f"Warning: {remark}" for remark in self.remarks]
        if self.split.num_images not in (0, count):
            lines.append(
                f"Warning: Split {self.split.name!r} has {count} images here, "
                f"{self.split.num_images} as published."
            )
        return lines


def _choose_splits(data: PublishedSet, names: Sequence[str]) -> list[Split]:
    known = {split.name: split for split in data.splits}
    unknown = [name for name in names if name not in known]
    if unknown:
        raise errors.ConfigError(
            f"--split names {json_values.summarize(unknown)}. {data.title} has "
            f"{', '.join(known)}."
        )
    if names:
        return [known[name] for name in dict.fromkeys(names)]
    return [split for split in data.splits if split.is_default]


@contextlib.contextmanager
def _open_descriptor(
    data: PublishedSet, request: Request
) -> Iterator[tuple[str, DatasetDescriptor]]:
    """Yields the name or file of the descriptor, and the descriptor."""
    if data.describe is None:
        yield data.dataset, descriptor_lib.load(data.dataset)
        return
    text = f"# {out_folder.PREPARE_SIGNATURE}\n{data.describe(request.root)}"
    if request.out is not None:
        request.out.mkdir(parents=True, exist_ok=True)
        path = request.out / out_folder.DATASET_FILE
        whole_files.write_text(path, text)
        yield os.path.abspath(path), descriptor_lib.load(str(path))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / out_folder.DATASET_FILE
        whole_files.write_text(path, text)
        yield str(path), descriptor_lib.load(str(path))


def _list_split(
    request: Request,
    data: PublishedSet,
    split: Split,
    descriptor: DatasetDescriptor,
) -> _Listed:
    there = [
        form
        for form, is_there in data.is_there.items()
        if is_there(request.root, split.name)
    ]
    form = request.form or (there or list(data.ways))[0]
    remarks: list[str] = []
    listing = Listing(
        request.root,
        split.name,
        descriptor,
        request.treat_crowd_as_ignore,
        remarks.append,
    )
    items = data.ways[form](listing)
    counts = Counter((item.sequence, item.name) for item in items)
    twice = ["/".join(filter(None, k)) for k, n in counts.items() if n > 1]
    if twice:
        raise errors.DataError(
            f"Split {split.name!r}: {len(twice)} names are those of several "
            f"images: {json_values.summarize(twice)}. Remove the copies."
        )
    return _Listed(split, form, items, remarks)


def _write(
    request: Request,
    listed: Sequence[_Listed],
    descriptor: DatasetDescriptor,
    write_missing: "shards.WriteMissing",
    report: progress.Progress,
) -> list[str]:
    """Writes splits one after the other."""
    from deeplab2_like.recipes.published import writing

    lines: list[str] = []
    for one in listed:
        lines += writing.write_split(
            request,
            one.split.name,
            one.items,
            descriptor,
            write_missing=write_missing,
            report=report,
            form=one.form if one.split.has_labels else "none",
        )
    return lines


def _describe_config(
    name: str, out: pathlib.Path, splits: Sequence[Split]
) -> list[str]:
    beginning = user_paths.escape_pattern(os.path.abspath(out))
    return [
        f"Written to {out}. For a config:",
        f"  dataset: {textproto.quote(name)}",
        *(
            "  file_pattern: "
            f"{textproto.quote(f'{beginning}/{split.name}-*.tfrecord')}"
            for split in splits
        ),
    ]
