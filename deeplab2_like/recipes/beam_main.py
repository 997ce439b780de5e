# SPDX-License-Identifier: Apache-2.0
"""Writes records by a pipeline of Apache Beam, on many machines.

    deeplab2-prepare-beam NAME --root=DATA --out=records -- --runner=NAME
    deeplab2-prepare-beam PHOTOS --out=mine -- --runner=NAME

The first reads a published data set, the second labels in the form that you
have, as deeplab2-prepare does, and the records are the same, byte by byte. What
follows -- are options of Beam, which choose the runner; without --runner it
runs here. Each worker writes whole shards: --num_shards says how many can work
at once. DATA, PHOTOS and --out are folders that this machine and all workers
reach by the same path. The same command goes on where it was.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import beam_pipelines, path_flags, program
from deeplab2_like.recipes import forms, published_flags, reading_flags
from deeplab2_like.recipes.published import items as published_items
from deeplab2_like.recipes.published import preparing as published_preparing
from deeplab2_like.storage import user_paths

_AUTO = "auto"
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
    "Folder of the records, which every worker writes to. Required.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite",
    False,
    "Replace what this program or deeplab2-prepare wrote to --out before.",
    flag_values=_FLAGS,
)
_NUM_SHARDS = flags.DEFINE_integer(
    "num_shards",
    0,
    "Files for each split; 0: as many as deeplab2-prepare writes.",
    lower_bound=0,
    flag_values=_FLAGS,
)
_READING = reading_flags.define(_FLAGS)
_PUBLISHED = published_flags.define(_FLAGS)


def _main(arguments: Sequence[str]) -> None:
    given_out = program.require(_OUT, "the folder of the records", "records")
    data, options = beam_pipelines.split(arguments)
    if len(data) != 1:
        raise errors.ConfigError(
            "Give the name of one published data set with --root, or one "
            f"folder of images and labels, not {len(data)}: for example "
            "deeplab2-prepare-beam cityscapes --root=data --out=records."
        )
    for name, path in (
        ("out", given_out),
        ("root", _PUBLISHED.root.value or data[0]),
    ):
        if user_paths.is_remote(path):
            raise errors.ConfigError(
                f"{path} is an address (--{name}). Give a folder that this "
                "machine and all workers reach by the same path, such as a "
                "network file system or a bucket that is mounted."
            )
    out = pathlib.Path(given_out)
    form = "" if _FROM.value == _AUTO else _FROM.value
    write = _open_writer(options)
    if _PUBLISHED.root.value:
        request = published_items.Request(
            data[0],
            pathlib.Path(_PUBLISHED.root.value).absolute(),
            out.absolute(),
            tuple(filter(None, _PUBLISHED.split.value or ())),
            form,
            _NUM_SHARDS.value,
            _PUBLISHED.crowd.value,
            _OVERWRITE.value,
        )
        lines = published_preparing.prepare(request, write_missing=write)
        print("\n".join(lines))
        return
    if _PUBLISHED.split.value or _PUBLISHED.crowd.value:
        name = "split" if _PUBLISHED.split.value else "treat_crowd_as_ignore"
        raise errors.ConfigError(
            f"--{name} is of published data sets, and --root is missing. Leave "
            "it out, or add --root."
        )
    from deeplab2_like.recipes import beam_own_data

    folder = pathlib.Path(user_paths.expand(data[0])).absolute()
    lines = beam_own_data.prepare(
        _READING.make_request(folder, form),
        out.absolute(),
        write,
        num_shards=_NUM_SHARDS.value,
        overwrite=_OVERWRITE.value,
    )
    print("\n".join(lines))


def _open_writer(options: Sequence[str]) -> Any:
    try:
        from deeplab2_like.recipes import beam_shards
    except ImportError as error:
        raise errors.InstallError(
            f"The pipeline needs the package {error.name}. Install it in an "
            "environment of its own with: pip install 'deeplab2-like[beam]'"
        ) from error
    return beam_shards.BeamWriter(options)


def cli() -> None:
    """Writes records (console command deeplab2-prepare-beam)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
