# SPDX-License-Identifier: Apache-2.0
"""The folder that is written, completely or not at all."""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator

from deeplab2_like import errors
from deeplab2_like.config import placeholders
from deeplab2_like.storage import whole_files

CONFIG_FILE = "config.textproto"
DATASET_FILE = "dataset.textproto"
RECORDS_FOLDER = "records"
PICTURE_FILE = "samples.png"
# By these lines an older file is known to be ours.
SIGNATURE = "Written by deeplab2-new."
PREPARE_SIGNATURE = "Written by deeplab2-prepare."
_SHARD = re.compile(r"(train|val)-\d{5}-of-\d{5}\.tfrecord")
_SIDE_FILES = ("MANIFEST.sha256", "class_pixels.json")
_WORK_FOLDER = ".new"


def check(out: pathlib.Path, *, overwrite: bool) -> None:
    """Checks that a folder may be written; changes nothing.

    Args:
        out: The folder.
        overwrite: Whether files that were written before are replaced.

    Raises:
        errors.ConfigError: It contains something else, or cannot be named in a
            config.
    """
    if placeholders.find(os.path.abspath(out)):
        raise errors.ConfigError(
            f"--out={out} contains ${{...}}, which configs read as the name of "
            "an environment variable. Use another name."
        )
    if out.exists() and not out.is_dir():
        raise errors.ConfigError(f"--out={out} is a file. Give a folder.")
    found = sorted(os.listdir(out)) if out.is_dir() else []
    if found and not overwrite:
        shown = ", ".join(found[:4]) + (", ..." if len(found) > 4 else "")
        raise errors.ConfigError(
            f"--out={out} holds files already ({shown}). Give another folder, "
            f"or add --overwrite, which replaces {CONFIG_FILE}, {DATASET_FILE} "
            f"and the records in {RECORDS_FOLDER}, and nothing else."
        )
    for name in (CONFIG_FILE, DATASET_FILE):
        file = out / name
        if file.exists() and not _is_ours(file):
            raise errors.ConfigError(
                f"{file} was not written by deeplab2-new or deeplab2-prepare, "
                "and is not replaced. Move it, or give another --out."
            )


def _is_ours(file: pathlib.Path) -> bool:
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return SIGNATURE in text or PREPARE_SIGNATURE in text


def is_written(path: str) -> bool:
    """Returns whether a file of the folder is one that is written to it.

    Args:
        path: Path below the folder, with "/".
    """
    *folders, name = path.split("/")
    if folders == [RECORDS_FOLDER]:
        return bool(_SHARD.fullmatch(name)) or name in _SIDE_FILES
    return not folders and name in (CONFIG_FILE, DATASET_FILE, PICTURE_FILE)


@contextlib.contextmanager
def open_folder(out: pathlib.Path) -> Iterator[pathlib.Path]:
    """Opens the folder for writing; the files appear when the block ends.

    If the block fails, nothing changes.

    Args:
        out: The folder, after `check`; older files of ours are replaced.

    Yields:
        The folder to write to.
    """
    if not out.exists():
        with whole_files.new_folder(out) as folder:
            yield folder
        return
    work = out / _WORK_FOLDER
    with whole_files.new_folder(work) as folder:
        yield folder
    records = out / RECORDS_FOLDER
    records.mkdir(exist_ok=True)
    for name in os.listdir(records):
        if is_written(f"{RECORDS_FOLDER}/{name}"):
            (records / name).unlink()
    for file in sorted((work / RECORDS_FOLDER).iterdir()):
        file.replace(records / file.name)
    (work / RECORDS_FOLDER).rmdir()
    # The config comes last: it is there when all that it names is.
    for file in sorted(work.iterdir(), key=lambda f: f.name == CONFIG_FILE):
        file.replace(out / file.name)
    work.rmdir()
