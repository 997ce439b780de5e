# SPDX-License-Identifier: Apache-2.0
"""Finds the labels of images by the names of folders and files.

`images/train/a.jpg` belongs to `labels/train/a.png`, and `a.jpg` to
`a_mask.png`: a name without the words that say what a file is tells which image
it belongs to.
"""

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence

from deeplab2_like import errors
from deeplab2_like.labels import json_values
from deeplab2_like.recipes.forms import places
from deeplab2_like.recipes.forms.source import Request
from deeplab2_like.recipes.forms.tree import Tree
from deeplab2_like.storage import image_decoding

IMAGE, SEMANTIC, INSTANCE = "image", "label", "instance"

_LABEL_SUFFIXES = (".png", ".tif", ".tiff", ".bmp")
_WORDS = {
    IMAGE: "images image img imgs photos photo jpegimages leftimg8bit rgb "
    "pictures frames",
    SEMANTIC: "labels label masks mask semantic semantics sem segmentation "
    "segmentationclass seg annotations annotation gt gtfine groundtruth "
    "ground_truth labelids classes bitmasks label_images semantic_masks",
    INSTANCE: "instances instance inst segmentationobject objects instanceids "
    "instance_ids annotations_instance instance_masks",
}
_ROLES = {
    word: role for role, words in _WORDS.items() for word in words.split()
}
_TAIL = re.compile(
    r"(?P<stem>.+?)(?:[-_. ]gtFine)?[-_. ]"
    rf"(?P<word>{'|'.join(sorted(_ROLES, key=len, reverse=True))})",
    re.IGNORECASE,
)
_FLAGS = {IMAGE: "image_dir", SEMANTIC: "label_dir", INSTANCE: "instance_dir"}


@dataclasses.dataclass(frozen=True, slots=True)
class Pair:
    """An image with its labels.

    Attributes:
        name: Name of the image, unique in its split.
        split: As `places.find_split` returns it.
        files: Path of each role that it has, as text: there may be very many.
    """

    name: str
    split: str
    files: Mapping[str, str]

    @property
    def paths(self) -> dict[str, pathlib.Path]:
        """Path of each role that it has."""
        return {role: pathlib.Path(file) for role, file in self.files.items()}


def pair(tree: Tree, request: Request) -> list[Pair]:
    """Pairs images with labels.

    Args:
        tree: The files to look through.
        request: What the user asked for; folders that it names are of that
            role.

    Returns:
        The images that have a label and the labels that have an image, and
        images and labels alone, in the order of their names.

    Raises:
        errors.DataError: Two files are equally likely the label of an image,
            or a folder does not exist.
    """
    found: dict[tuple[str, str], dict[str, list[str]]] = {}
    given = _list_given(request)
    for role, path, file in _list_files(tree, given):
        key = _find_key(path)
        found.setdefault(key, {}).setdefault(role, []).append(file)
    pairs = []
    for (split, name), roles in sorted(found.items()):
        for role, files in roles.items():
            if len(files) > 1 and {*roles} > {IMAGE}:
                raise errors.DataError(
                    f"{json_values.summarize(sorted(files))} may each be the "
                    f"{role} of {name!r}. Say with --{_FLAGS[role]} which "
                    "folder is meant."
                )
        pairs.append(
            Pair(
                name,
                split,
                {role: files[0] for role, files in roles.items()},
            )
        )
    return pairs


def _list_given(request: Request) -> dict[str, pathlib.Path]:
    folders = {
        IMAGE: request.image_dir,
        SEMANTIC: request.reading.label_dir,
        INSTANCE: request.reading.instance_dir,
    }
    given = {role: folder for role, folder in folders.items() if folder}
    for role, folder in given.items():
        if not folder.is_dir():
            raise errors.DataError(
                f"--{_FLAGS[role]}={folder} is no folder. Give the folder of "
                f"the {role}s."
            )
    return given


def _list_files(
    tree: Tree, given: Mapping[str, pathlib.Path]
) -> list[tuple[str, str, str]]:
    """Lists (role, path below its folder, path) of images and labels."""
    files = []
    inside = [folder.resolve() for folder in given.values()]
    for role, folder in given.items():
        for path in Tree.look(folder).files:
            if _fits(role, path):
                files.append((role, path, str(folder / path)))
    for path in tree.files:
        role = find_role(path)
        if role in given or not _fits(role, path):
            continue
        full = tree.root / path
        if inside and any(
            folder in full.resolve().parents for folder in inside
        ):
            continue
        files.append((role, path, str(full)))
    return files


def _fits(role: str, path: str) -> bool:
    suffixes: Sequence[str] = image_decoding.SUFFIXES
    if role != IMAGE:
        suffixes = _LABEL_SUFFIXES
    return path.lower().endswith(tuple(suffixes))


def find_role(path: str) -> str:
    """Returns what a file is, by its folders and its name.

    Args:
        path: Path below the root, with "/".

    Returns:
        `IMAGE`, `SEMANTIC` or `INSTANCE`; `IMAGE` where nothing says it.
    """
    *folders, name = path.split("/")
    match = _TAIL.fullmatch(pathlib.PurePosixPath(name).stem)
    if match:
        return _ROLES[match["word"].lower()]
    for folder in reversed(folders):
        role = _ROLES.get(folder.lower())
        if role:
            return role
    return IMAGE


def _find_key(path: str) -> tuple[str, str]:
    """Returns the split of a file, and its name without words of roles."""
    *folders, name = path.split("/")
    stem = pathlib.PurePosixPath(name).stem
    match = _TAIL.fullmatch(stem)
    kept = [
        folder
        for folder in folders
        if folder.lower() not in _ROLES and not places.is_split_folder(folder)
    ]
    return (
        places.find_split(path),
        "/".join([*kept, match["stem"] if match else stem]),
    )
