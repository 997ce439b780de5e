# SPDX-License-Identifier: Apache-2.0
"""COCO-panoptic data: images, PNGs of segment ids, a JSON file or two.

Which folder holds what is found by looking: the PNGs are where a file of the
right name has the ids that the JSON lists, the images where the most files of
the right names are.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Sequence

from deeplab2_like import errors
from deeplab2_like.data.coco import descriptions
from deeplab2_like.data.coco import entries as coco_entries
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.labels import coco_format, coco_json, image_ids
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.forms import coco_instances, places
from deeplab2_like.recipes.forms.source import (
    Example,
    Request,
    Source,
)
from deeplab2_like.recipes.forms.tree import Tree

# What only such a JSON file contains.
_SIGN = b'"segments_info"'


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
                path=entry.image_path,
                label_path=entry.label_path,
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
        if request.data.suffix.lower() != ".json" or (
            not request.form and coco_instances.has_sign(request.data)
        ):
            return None
        return CocoPanoptic([_locate(str(request.data), "", tree, request)])
    found = [
        path
        for path in tree.list_by_ending(".json")
        if _has_sign(tree.root / path)
    ]
    if not found:
        return None
    chosen, note = places.choose_splits(
        found, tree.root, "COCO-panoptic JSON files", _count_images
    )
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


def _count_images(path: pathlib.Path) -> int:
    return len(coco_json.load(path, ["images"]).images)


def _locate(json_path: str, split: str, tree: Tree, request: Request) -> _Part:
    """Finds the folders of a JSON file.

    Raises:
        errors.DataError: They are not there, or are not unique.
    """
    part = _find_part(json_path, split, tree, request)
    if part is None:
        tree = places.look_above(tree, request) or tree
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
    panoptic = places.get_given(request.panoptic_dir, split)
    if panoptic is None:
        found = places.rank_folders(tree, [label.file_name for label in labels])
        panoptic = places.choose_folder(
            [f for f in found if _has_ids(tree.root / f, labels[0])],
            f"The PNGs of {json_path}",
            "panoptic_dir",
            hints=(stem, split),
            root=tree.root,
        )
    if panoptic is None:
        return None
    images = places.get_given(request.image_dir, split)
    if images is None:
        names = [
            image_ids.name_photo(image.file_name)
            for image in content.images.values()
        ]
        found = [
            folder
            for folder in places.rank_folders(tree, names)
            if not _is_same(tree.root / folder, panoptic)
        ]
        images = places.choose_folder(
            found,
            f"The images of {json_path}",
            "image_dir",
            hints=(split,),
            root=tree.root,
        )
    if images is None:
        return None
    return _Part(json_path, split, images, panoptic)


def _is_same(folder: pathlib.Path, other: str) -> bool:
    return folder.resolve() == pathlib.Path(other).resolve()


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
