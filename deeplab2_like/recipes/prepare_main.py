# SPDX-License-Identifier: Apache-2.0
"""Reads labels in the form that you have, and writes records.

    deeplab2-prepare PHOTOS
    deeplab2-prepare PHOTOS --out=mine --write

PHOTOS is a folder of images and labels, or a JSON file that lists them. The
first command says in which form they are, which classes they have and what the
images are like, and draws three of them; it writes nothing else. The second
writes the descriptor of the classes and the records for training and
evaluation. docs/label_forms.md lists the forms and how they are read.

    deeplab2-prepare cityscapes --root=DATA --out=records

reads a published data set as its archives unpack, and writes the records that
the shipped configs train on; killed, the same command goes on where it was.
docs/published_sets.md lists the data sets.
"""

import os
import pathlib
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.config import textproto
from deeplab2_like.console import path_flags, program
from deeplab2_like.labels import coco_json
from deeplab2_like.recipes import (
    conversion,
    forms,
    out_folder,
    preparing,
    published_flags,
    reading_flags,
)
from deeplab2_like.recipes.forms.source import TRAIN, VAL
from deeplab2_like.recipes.published import items as published_items
from deeplab2_like.recipes.published import preparing as published_preparing
from deeplab2_like.recipes.published import sets as published_sets
from deeplab2_like.recipes.survey import DataSurvey
from deeplab2_like.storage import user_paths

_AUTO = "auto"
_MAX_REMARKS = 12
_MAX_CLASSES = 40

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_FROM = flags.DEFINE_enum(
    "from",
    _AUTO,
    [_AUTO, *(form.key for form in forms.FORMS)],
    "The form of the labels; auto: as the files show.",
    flag_values=_FLAGS,
)
_OUT = path_flags.define(
    "out",
    None,
    "Folder to write: dataset.textproto, records, samples.png. By default the "
    "name of the data with -prepared, in the working directory.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_WRITE = flags.DEFINE_bool(
    "write",
    False,
    "Write --out. Without it the data are only looked at.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace the files that this program wrote to --out before; all others "
    "stay.",
    flag_values=_FLAGS,
)
_PICTURE = path_flags.define(
    "picture",
    None,
    "PNG file of three images with their labels, without --write. By default "
    "--out with .png.",
    flag_values=_FLAGS,
)
_READING = reading_flags.define(_FLAGS)
_PUBLISHED = published_flags.define(_FLAGS)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards",
    0,
    "With --root: files for each split; 0: as many as deeplab2 writes.",
    lower_bound=0,
    flag_values=_FLAGS,
)
_PROCESSES = flags.DEFINE_integer(
    "num_processes",
    0,
    "With --root: processes that load images; 0: one for each core.",
    lower_bound=0,
    flag_values=_FLAGS,
)
# Flags that say how a folder is read whose form is not known.
_OF_FOLDERS = (
    "image_dir",
    "panoptic_dir",
    "label_dir",
    "instance_dir",
    "things",
    "stuff",
    "classes",
    "write",
    "picture",
)


def _main(arguments: Sequence[str]) -> None:
    form = "" if _FROM.value == _AUTO else _FROM.value
    if _is_published(arguments):
        print("\n".join(_prepare_published(arguments, form)))
        return
    if len(arguments) != 1:
        raise errors.ConfigError(
            f"Give one folder, or one JSON file, not {len(arguments)}: for "
            "example deeplab2-prepare photos."
        )
    data = pathlib.Path(user_paths.expand(arguments[0]))
    request = _READING.make_request(data, form)
    out = _OUT.value or f"{_name_out(request)}-prepared"
    user_paths.expand_checkpoint(out, "--out=")
    threads = os.cpu_count() or 1
    if _WRITE.value:
        found = preparing.write(
            request, out, overwrite=_OVERWRITE.value, num_threads=threads
        )
        print("\n".join([*_describe(found), *_describe_output(out)]))
        return
    picture = _PICTURE.value or f"{out.rstrip('/')}.png"
    found = preparing.look(request, picture, num_threads=threads)
    lines = _describe(found)
    if found.survey is not None:
        lines.append(f"Picture   {picture}")
    lines += [f"Question  {found.question}"] if found.question else []
    print("\n".join(lines), flush=True)
    if found.problems:
        coco_json.raise_problems(str(data), found.problems)
    if not found.question:
        print(f"Nothing is written yet: --write writes {out}.")


def _is_published(arguments: Sequence[str]) -> bool:
    """Returns whether a published data set is asked for."""
    if _PUBLISHED.root.value:
        return True
    return (
        len(arguments) == 1
        and arguments[0] in published_sets.list_keys()
        and not os.path.exists(arguments[0])
    )


def _prepare_published(arguments: Sequence[str], form: str) -> list[str]:
    """Writes the records of a published data set; returns lines."""
    if len(arguments) != 1:
        raise errors.ConfigError(
            f"--root needs the name of one data set, not {len(arguments)}: "
            f"{', '.join(published_sets.list_keys())}. For example "
            "deeplab2-prepare cityscapes --root=data --out=records."
        )
    if not _PUBLISHED.root.value:
        raise errors.ConfigError(
            "--root is missing: the folder into which the archives of "
            f"{published_sets.find_set(arguments[0]).title} were unpacked."
        )
    others = [name for name in _OF_FOLDERS if _FLAGS[name].present]
    if others:
        raise errors.ConfigError(
            f"--{others[0]} is of no use with --root: folders and classes of a "
            "published data set are known. Leave it out."
        )
    request = published_items.Request(
        arguments[0],
        pathlib.Path(_PUBLISHED.root.value),
        pathlib.Path(_OUT.value) if _OUT.value else None,
        tuple(filter(None, _PUBLISHED.split.value or ())),
        form,
        _NUM_SHARDS.value,
        _PUBLISHED.crowd.value,
        _OVERWRITE.value,
    )
    return published_preparing.prepare(
        request, num_processes=_PROCESSES.value or os.cpu_count() or 1
    )


def _name_out(request: forms.Request) -> str:
    """Names the output by the data; patterns of TensorFlow become "_"."""
    name = conversion.name_data(request)
    return "".join("_" if c in "*?[]\\" else c for c in name)


def _describe(found: preparing.Findings) -> list[str]:
    """Describes the data in a few lines."""
    train, val = found.num_images[TRAIN], found.num_images[VAL]
    lines = [f"Found     {found.title}"]
    if found.num_looked_at < train + val:
        lines.append(
            f"Read      {found.num_looked_at} of {train + val} images "
            f"({train} to train, {val} to evaluate), spread over the data"
        )
    if found.survey is not None:
        lines += [*found.survey.describe(), *_describe_classes(found.survey)]
    if found.split_rule:
        lines.append(f"Evaluate  {found.split_rule}")
    lines += found.remarks[:_MAX_REMARKS]
    if len(found.remarks) > _MAX_REMARKS:
        lines.append(f"... and {len(found.remarks) - _MAX_REMARKS} more.")
    return lines


def _describe_classes(survey: DataSurvey) -> list[str]:
    """Lists the classes in columns."""
    total = max(1, sum(sum(one.pixels) for one in survey.classes))
    rows = [("class", "kind", "images", "objects", "% of pixels")]
    rows += [
        (
            one.name if one.name.isprintable() else repr(one.name),
            "thing" if one.is_thing else "stuff",
            str(sum(one.images)),
            str(sum(one.instances)) if one.is_thing else "",
            f"{100 * sum(one.pixels) / total:.2f}",
        )
        for one in survey.classes[:_MAX_CLASSES]
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  "
        + "  ".join(
            cell.ljust(width) if place < 2 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    if len(survey.classes) > _MAX_CLASSES:
        lines.append(f"  and {len(survey.classes) - _MAX_CLASSES} more")
    return lines


def _describe_output(out: str) -> list[str]:
    place = os.path.join(os.path.abspath(out), out_folder.RECORDS_FOLDER)
    beginning = user_paths.escape_pattern(place)
    dataset = os.path.join(os.path.abspath(out), out_folder.DATASET_FILE)
    return [
        f"Written to {out}. For a config:",
        f"  dataset: {textproto.quote(dataset)}",
        *(
            f"  file_pattern: "
            f"{textproto.quote(f'{beginning}/{split}-*.tfrecord')}"
            for split in (TRAIN, VAL)
        ),
    ]


def cli() -> None:
    """Reads labels and writes records (console command deeplab2-prepare)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
