# SPDX-License-Identifier: Apache-2.0
"""Finds the folders of files that are known by name, and what splits are."""

import pathlib
import re
from collections.abc import Callable, Sequence

from deeplab2_like import errors
from deeplab2_like.recipes.forms.source import TRAIN, VAL, Request
from deeplab2_like.recipes.forms.tree import Tree

TEST = "test"
_WORDS = {
    TRAIN: re.compile(r"(?<![a-z])train", re.IGNORECASE),
    VAL: re.compile(r"(?<![a-z])(val|dev)", re.IGNORECASE),
    TEST: re.compile(r"(?<![a-z])test", re.IGNORECASE),
}
# Names of folders: the whole name, or with a year.
_FOLDER = re.compile(
    r"(train|training|val|valid|validation|dev|test|testing)(?:[-_ ]?\d+)?",
    re.IGNORECASE,
)
# Images whose files are looked for, spread over the data set.
_PROBES = 40


def choose_splits(
    paths: Sequence[str],
    root: pathlib.Path,
    what: str,
    count_images: Callable[[pathlib.Path], int],
) -> tuple[dict[str, str], str]:
    """Chooses the files of the splits.

    Args:
        paths: Paths below the root; one or more. Where all have one name, that
            of their folders decides.
        root: The folder.
        what: The files in messages, such as "COCO-panoptic JSON files".
        count_images: Function that returns the number of images of a file.

    Returns:
        Path below the root by split, for one file of split ""; and a sentence
        about the choice, or "".

    Raises:
        errors.DataError: Which are meant is not clear.
    """
    if len(paths) == 1:
        return {"": paths[0]}, ""
    texts = {path: pathlib.PurePosixPath(path).stem for path in paths}
    if len({*texts.values()}) == 1:
        texts = {path: path for path in paths}
    named = {
        split: [path for path in paths if _WORDS[split].search(texts[path])]
        for split in (TRAIN, VAL)
    }
    if all(len(found) == 1 for found in named.values()) and (
        named[TRAIN] != named[VAL]
    ):
        return {split: found[0] for split, found in named.items()}, ""
    rest = [path for path in paths if not _WORDS[TEST].search(texts[path])]
    if len(rest) == 1:
        return {"": rest[0]}, ""
    if len(rest) == 2 and not (named[TRAIN] and named[VAL]):
        smaller, larger = sorted(rest, key=lambda p: count_images(root / p))
        return {TRAIN: larger, VAL: smaller}, (
            f" The larger file, {larger}, is for training."
        )
    shown = ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")
    raise errors.DataError(
        f"{root} holds {len(paths)} {what} ({shown}), and which are meant is "
        "not clear: one for training needs `train` and one for evaluation "
        "`val` in its name. Or give the path of one file instead of the "
        "folder, of which images for evaluation are then set aside."
    )


def find_split(path: str) -> str:
    """Returns the split that a folder of a path names: TRAIN, VAL, TEST or "".

    Args:
        path: Path of a file below the root, with "/".
    """
    for folder in reversed(path.split("/")[:-1]):
        if _FOLDER.fullmatch(folder):
            return next(s for s, word in _WORDS.items() if word.match(folder))
    return ""


def is_split_folder(name: str) -> bool:
    """Returns whether the name of a folder is that of a split."""
    return _FOLDER.fullmatch(name) is not None


def get_given(folder: pathlib.Path | None, split: str) -> str | None:
    """Returns a folder that the user named, or that of the split in it.

    Args:
        folder: The folder; None where the user named none.
        split: The split, or "".

    Raises:
        errors.DataError: It does not exist.
    """
    if folder is None:
        return None
    if not folder.is_dir():
        raise errors.DataError(
            f"{folder} is no folder. Give the folder of the files that the "
            "JSON names."
        )
    inner = folder / split
    return str(inner if split and inner.is_dir() else folder)


def look_above(tree: Tree, request: Request) -> Tree | None:
    """Lists the files of the folder above that of a file, if it may be.

    For a file such as annotations/train.json beside train/.

    Args:
        tree: The files beside the file.
        request: What the user asked for.
    """
    if not request.data.is_file():
        return None
    above = tree.root.resolve().parent
    if above in (pathlib.Path.home(), pathlib.Path(above.anchor)):
        return None
    return Tree.look(above)


def rank_folders(tree: Tree, file_names: Sequence[str]) -> list[str]:
    """Lists the folders that hold the most of some files.

    Args:
        tree: The files to look through.
        file_names: Paths below the folder that is looked for.
    """
    step = max(1, len(file_names) // _PROBES)
    counts: dict[str, int] = {}
    for file_name in file_names[::step]:
        for folder in tree.find_folders(file_name):
            counts[folder] = counts.get(folder, 0) + 1
    most = max(counts.values(), default=0)
    return [folder for folder, count in counts.items() if count == most]


def choose_folder(
    folders: Sequence[str],
    what: str,
    flag: str,
    *,
    hints: Sequence[str],
    root: pathlib.Path,
) -> str | None:
    """Returns the only folder, or the only one that a hint is part of.

    Args:
        folders: Folders below the root.
        what: The files in messages.
        flag: The flag that names the folder.
        hints: Texts that the name of the right folder may have.
        root: The folder that they are in.

    Raises:
        errors.DataError: Several are equally likely.
    """
    for hint in hints:
        if len(folders) > 1 and hint:
            folders = [f for f in folders if hint in f] or folders
    if len(folders) > 1:
        raise errors.DataError(
            f"{what} may be in {' or '.join(sorted(folders)[:4])} below "
            f"{root}. Say which with --{flag}."
        )
    return str(root / folders[0]) if folders else None
