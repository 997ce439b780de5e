# SPDX-License-Identifier: Apache-2.0
"""COCO-panoptic data: images, PNGs of segment ids, a JSON file or two.

Which folder holds what is found by looking: the PNGs are where a file of the
right name has the ids that the JSON lists, the images where the most files of
the right names are.
"""

import dataclasses
import functools
import pathlib
import re
from collections.abc import Callable, Sequence

from deeplab2_like import errors
from deeplab2_like.data.coco import descriptions
from deeplab2_like.data.coco import entries as coco_entries
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.labels import coco_format, coco_json, image_ids
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.forms.source import (
    TRAIN,
    VAL,
    Example,
    Request,
    Source,
)
from deeplab2_like.recipes.forms.tree import Tree

# What only such a JSON file contains.
_SIGN = b'"segments_info"'
_WORDS = {
    TRAIN: re.compile(r"(?<![a-z])train", re.IGNORECASE),
    VAL: re.compile(r"(?<![a-z])(val|dev)", re.IGNORECASE),
}
_TEST = re.compile(r"(?<![a-z])test", re.IGNORECASE)
# Images whose files are looked for, spread over the data set.
_PROBES = 40


@dataclasses.dataclass(frozen=True)
class _Part:
    """A JSON file with its folders.

    Attributes:
        json_path: The file.
        split: As in `Example`.
        images: Folder of the images.
        panoptic: Folder of the PNGs.
    """

    json_path: str
    split: str
    images: str
    panoptic: str


class CocoPanoptic(Source):
    """A data set in COCO's panoptic format."""

    def __init__(self, parts: Sequence[_Part], note: str = ""):
        """Stores where everything is.

        Args:
            parts: One JSON file, or those of training and evaluation.
            note: What was decided about several files, for the user.
        """
        self._parts = parts
        self.image_dir = pathlib.Path(parts[-1].images)
        names = [
            f"{part.json_path} with {part.images} and {part.panoptic}"
            for part in parts
        ]
        self.title = f"COCO-panoptic: {'; '.join(names)}.{note}"

    def describe(self, name: str) -> tuple[str, list[str]]:
        """Writes the descriptor; see `Source`."""
        first, *others = [part.json_path for part in self._parts]
        return descriptions.describe_with_notes(first, name, *others)

    def list_examples(
        self, descriptor: DatasetDescriptor, warn: Callable[[str], None]
    ) -> Sequence[Example]:
        """Lists the images; see `Source`."""
        classes = descriptor.class_of_category()
        return [
            Example(
                name=entry.name,
                split=part.split,
                class_ids=frozenset(
                    classes[segment.category_id]
                    for segment in entry.segments
                    if segment.category_id in classes and not segment.is_crowd
                ),
                load=functools.partial(
                    coco_samples.load_sample, entry, descriptor
                ),
            )
            for part in self._parts
            for entry in coco_entries.load_entries(
                part.json_path,
                part.images,
                part.panoptic,
                descriptor,
                warn=warn,
            )
        ]


def recognize(tree: Tree, request: Request) -> CocoPanoptic | None:
    """Returns the data set of a folder or JSON file; None for another form.

    Args:
        tree: The files of the folder.
        request: What the user asked for.

    Raises:
        errors.DataError: The folder has JSON files of this form, but which of
            them is meant or where their images are is not clear.
    """
    if request.data.is_file():
        if request.data.suffix.lower() != ".json":
            return None
        return CocoPanoptic([_locate(str(request.data), "", tree, request)])
    found = [
        path
        for path in tree.list_by_ending(".json")
        if _has_sign(tree.root / path)
    ]
    if not found:
        return None
    chosen, note = _choose_splits(found, tree.root)
    parts = [
        _locate(str(tree.root / path), split, tree, request)
        for split, path in chosen.items()
    ]
    return CocoPanoptic(parts, note)


def _has_sign(path: pathlib.Path) -> bool:
    try:
        return _SIGN in path.read_bytes()
    except OSError:
        return False


def _choose_splits(
    paths: Sequence[str], root: pathlib.Path
) -> tuple[dict[str, str], str]:
    """Chooses the JSON files of the splits.

    Returns:
        Path below the root by split, for one file of split ""; and a sentence
        about the choice, or "".
    """
    if len(paths) == 1:
        return {"": paths[0]}, ""
    stems = {path: pathlib.PurePosixPath(path).stem for path in paths}
    named = {
        split: [path for path in paths if word.search(stems[path])]
        for split, word in _WORDS.items()
    }
    if all(len(found) == 1 for found in named.values()) and (
        named[TRAIN] != named[VAL]
    ):
        return {split: found[0] for split, found in named.items()}, ""
    rest = [path for path in paths if not _TEST.search(stems[path])]
    if len(rest) == 1:
        return {"": rest[0]}, ""
    if len(rest) == 2 and not (named[TRAIN] and named[VAL]):
        smaller, larger = sorted(rest, key=lambda p: _count_images(root / p))
        return {TRAIN: larger, VAL: smaller}, (
            f" The larger file, {larger}, is for training."
        )
    shown = ", ".join(paths[:5]) + (", ..." if len(paths) > 5 else "")
    raise errors.DataError(
        f"{root} holds {len(paths)} COCO-panoptic JSON files ({shown}), and "
        "which are meant is not clear: one for training needs `train` and one "
        "for evaluation `val` in its name. Or name one file with --data, of "
        "which images for evaluation are then set aside."
    )


def _count_images(path: pathlib.Path) -> int:
    return len(coco_json.load(path, ["images"]).images)


def _locate(json_path: str, split: str, tree: Tree, request: Request) -> _Part:
    """Finds the folders of a JSON file.

    Raises:
        errors.DataError: They are not there, or are not unique.
    """
    part = _find_part(json_path, split, tree, request)
    if part is None and request.data.is_file():
        # Such as annotations/panoptic_train.json beside train/.
        above = tree.root.resolve().parent
        if above not in (pathlib.Path.home(), pathlib.Path(above.anchor)):
            tree = Tree.look(above)
            part = _find_part(json_path, split, tree, request)
    if part is None:
        raise errors.DataError(
            f"The images that {json_path} names, or their PNGs of segment ids, "
            f"are not below {tree.root}. Give their folders with --image_dir "
            "and --panoptic_dir."
        )
    return part


def _find_part(
    json_path: str, split: str, tree: Tree, request: Request
) -> _Part | None:
    content = coco_json.load(json_path, ["images", "annotations", "categories"])
    stem = pathlib.Path(json_path).stem
    labels = list(content.annotations.values())
    if not content.images or not labels:
        raise errors.DataError(
            f"{json_path} lists {len(content.images)} images and "
            f"{len(labels)} annotations. Training needs both."
        )
    panoptic = _given(request.panoptic_dir, split)
    if panoptic is None:
        found = _rank(tree, [label.file_name for label in labels])
        panoptic = _choose(
            [f for f in found if _has_ids(tree.root / f, labels[0])],
            f"The PNGs of {json_path}",
            "panoptic_dir",
            hints=(stem, split),
            root=tree.root,
        )
    if panoptic is None:
        return None
    images = _given(request.image_dir, split)
    if images is None:
        names = [
            image_ids.name_photo(image.file_name)
            for image in content.images.values()
        ]
        found = [
            folder
            for folder in _rank(tree, names)
            if not _is_same(tree.root / folder, panoptic)
        ]
        images = _choose(
            found,
            f"The images of {json_path}",
            "image_dir",
            hints=(split,),
            root=tree.root,
        )
    if images is None:
        return None
    return _Part(json_path, split, images, panoptic)


def _given(folder: pathlib.Path | None, split: str) -> str | None:
    """Returns a folder that the user named, or that of the split in it."""
    if folder is None:
        return None
    if not folder.is_dir():
        raise errors.DataError(
            f"{folder} is no folder. Give the folder of the files that the "
            "JSON names."
        )
    inner = folder / split
    return str(inner if split and inner.is_dir() else folder)


def _is_same(folder: pathlib.Path, other: str) -> bool:
    return folder.resolve() == pathlib.Path(other).resolve()


def _rank(tree: Tree, file_names: Sequence[str]) -> list[str]:
    """Lists the folders that hold the most of some files."""
    step = max(1, len(file_names) // _PROBES)
    counts: dict[str, int] = {}
    for file_name in file_names[::step]:
        for folder in tree.find_folders(file_name):
            counts[folder] = counts.get(folder, 0) + 1
    most = max(counts.values(), default=0)
    return [folder for folder, count in counts.items() if count == most]


def _has_ids(folder: pathlib.Path, label: coco_json.Annotation) -> bool:
    """Returns whether a PNG has the segment ids that the JSON lists."""
    try:
        ids = coco_format.load_segment_ids(folder / label.file_name)
    except errors.DataError:
        return False
    listed = {segment.id for segment in label.segments}
    present = {*ids.ravel().tolist()} - {0}
    # A few may differ: the converter names each of them.
    return len(present & listed) >= len(present | listed) / 2


def _choose(
    folders: Sequence[str],
    what: str,
    flag: str,
    *,
    hints: Sequence[str],
    root: pathlib.Path,
) -> str | None:
    """Returns the only folder, or the only one that a hint is part of.

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
