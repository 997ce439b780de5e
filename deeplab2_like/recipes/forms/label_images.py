# SPDX-License-Identifier: Apache-2.0
"""Label images: one that has the class of each pixel, and one the instance.

Either may be missing. Classes are grey values, indices into a palette, or
colors of a file that names them; instances are any numbers or colors, and 0 or
black is none.
"""

import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence

import numpy as np

from deeplab2_like import errors
from deeplab2_like.labels import json_values, pixel_maps
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels.layers import Layers
from deeplab2_like.labels.pixel_maps import PixelMap
from deeplab2_like.recipes.forms import (
    class_file,
    class_naming,
    label_scan,
    pairing,
)
from deeplab2_like.recipes.forms.class_file import NamedClass
from deeplab2_like.recipes.forms.class_naming import Naming
from deeplab2_like.recipes.forms.label_scan import LabelScan
from deeplab2_like.recipes.forms.own_labels import (
    ClassTable,
    LabeledImage,
    LabelSource,
)
from deeplab2_like.recipes.forms.pairing import (
    IMAGE,
    INSTANCE,
    SEMANTIC,
    Pair,
)
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.source import Request
from deeplab2_like.recipes.forms.tree import Tree

_MAX_NAMED = 3


def _keep(one: Pair, layers: Layers) -> None:
    del one, layers


@dataclasses.dataclass(frozen=True)
class Coding:
    """How label images are read.

    Attributes:
        load_maps: Function from an image to its label images of instances and
            of classes; see `load_maps`.
        finish: Function that is called with an image and its layers, which it
            may change.
        void: Number that is no class where classes have no names.
        numbers_stuff: Whether stuff has instance numbers, too, so that they
            do not show which classes are things.
    """

    load_maps: Callable[[Pair], tuple[PixelMap | None, PixelMap | None]]
    finish: Callable[[Pair, Layers], None] = _keep
    void: int = 255
    numbers_stuff: bool = False


class LabelImages(LabelSource):
    """A data set of label images."""

    def __init__(
        self,
        title: str,
        pairs: Sequence[Pair],
        scans: Sequence[LabelScan | None],
        naming: Naming,
        known: Sequence[bool | None],
        reading: Reading,
        coding: Coding,
    ):
        """Stores what was found.

        Args:
            title: See `Source`.
            pairs: The images, with and without labels.
            scans: What the label images of each contain; None where it has
                none or they are damaged.
            naming: The classes.
            known: Whether each class is a thing; None where it is not known.
            reading: What the user says.
            coding: How label images are read.

        Raises:
            errors.DataError: The classes cannot be used.
            errors.ConfigError: What the user says does not suit the data.
        """
        table = ClassTable(
            [
                dataclasses.replace(category, is_thing=flag)
                for category, flag in zip(naming.categories, known, strict=True)
            ],
            reading,
            naming.source,
            has_background=False,
        )
        table.notes += naming.notes
        super().__init__(title, table, reading)
        self._pairs = pairs
        self._scans = scans
        self._naming = naming
        self._coding = coding
        self._has_instances = any(
            scan.has_instances for scan in scans if scan is not None
        )
        self._is_coded = label_scan.are_coded(scans)
        if self._is_coded:
            table.notes.append(
                "Instance numbers are class * 1000 + n, as Cityscapes has "
                "them; smaller numbers of things are crowds."
            )
        self._check_things()
        self.image_dir = _find_common_folder(
            [one.paths[IMAGE] for one in pairs if IMAGE in one.paths]
        )

    def _check_things(self) -> None:
        table = self.table
        has_things = any(map(table.is_thing, range(len(table.names))))
        if (
            has_things
            and not self._has_instances
            and self.reading.loose == layers_lib.AS_VOID
        ):
            raise errors.ConfigError(
                "There are no label images of instances, so no pixel of a "
                "thing class belongs to an object. Add --loose=components, "
                "which makes each connected region an object, or --stuff with "
                "all classes."
            )

    def count_most_instances(self) -> int:
        """Counts the most instances of a class in an image."""
        return label_scan.count_most(self._scans)

    def list_images(self, warn: Callable[[str], None]) -> list[LabeledImage]:
        """Lists the images; see `LabelSource`."""
        _warn_of_lone(self._pairs, warn)
        pairs = [
            (one, scan)
            for one, scan in zip(self._pairs, self._scans, strict=True)
            if is_labeled(one)
        ]
        for role in (SEMANTIC, INSTANCE):
            # None of the images may have one.
            bare = [one.name for one, _ in pairs if role not in one.paths]
            if bare and len(bare) < len(pairs):
                raise errors.DataError(
                    f"{len(bare)} of {len(pairs)} images have no {role} image: "
                    f"{json_values.summarize(bare)}. Add them, or remove the "
                    "images."
                )
        return [
            LabeledImage(
                path=one.files[IMAGE],
                name=one.name,
                split=one.split,
                class_ids=self._find_classes(scan),
                read=functools.partial(self._read, one),
                label_path=one.files.get(SEMANTIC) or one.files[INSTANCE],
            )
            for one, scan in pairs
        ]

    def _find_classes(self, scan: LabelScan | None) -> frozenset[int]:
        if scan is None:
            return frozenset()
        table = self._naming.index_of_number
        found = {table.get(number, layers_lib.VOID) for number in scan.numbers}
        return frozenset(found - {layers_lib.VOID})

    def _read(self, one: Pair, size: tuple[int, int]) -> tuple[Layers, str]:
        del size  # That of the label image is compared with the image later.
        instances, semantic = self._coding.load_maps(one)
        present = semantic or instances
        if present is None:
            raise ValueError(f"{one.name!r} has no label.")
        numbers = label_scan.read_numbers(
            semantic, instances, self._naming.by_color
        )
        classes = class_naming.find_indices(
            numbers, self._naming, one.paths.get(SEMANTIC, one.paths[IMAGE])
        )
        layers = Layers.empty(present.size)
        layers.classes[:] = classes
        if instances is not None:
            found = label_scan.read_instances(instances)
            if self._is_coded:
                is_thing = np.isin(
                    classes,
                    [
                        i
                        for i, c in enumerate(self.table.categories)
                        if c.is_thing
                    ],
                )
                is_single = found >= label_scan.CODE_DIVISOR
                layers.crowds[:] = is_thing & ~is_single
                found = np.where(is_single, found + 1, 0)
            layers.instances[:] = found
        self._coding.finish(one, layers)
        return layers, ""


def is_labeled(one: Pair) -> bool:
    """Returns whether an image has a label image."""
    return IMAGE in one.paths and len(one.paths) > 1


def load_maps(one: Pair) -> tuple[PixelMap | None, PixelMap | None]:
    """Loads the label images of instances and of classes.

    Args:
        one: The image.

    Raises:
        errors.DataError: A file cannot be read, or their sizes differ.
    """
    instances, semantic = (
        pixel_maps.load(one.paths[role]) if role in one.paths else None
        for role in (INSTANCE, SEMANTIC)
    )
    if instances and semantic and instances.size != semantic.size:
        raise errors.DataError(
            f"{one.paths[SEMANTIC]} has {semantic.size[0]} x "
            f"{semantic.size[1]} pixels (height x width), but "
            f"{one.paths[INSTANCE]} {instances.size[0]} x "
            f"{instances.size[1]}. They must be equal."
        )
    return instances, semantic


def recognize(tree: Tree, request: Request) -> LabelImages | None:
    """Returns the data set of a folder; None for another form.

    Args:
        tree: The files of the folder.
        request: What the user asked for.

    Raises:
        errors.DataError: Which label belongs to an image is not clear, or the
            classes are not known.
    """
    if request.data.is_file():
        return None
    pairs = pairing.pair(tree, request)
    if not any(map(is_labeled, pairs)):
        return None
    named = None
    if request.reading.classes is not None:
        named = class_file.load(request.reading.classes)
    return make_source("Label images", pairs, request, named)


def make_source(
    form: str,
    pairs: Sequence[Pair],
    request: Request,
    named: Sequence[NamedClass] | None,
    path: pathlib.Path | None = None,
    coding: Coding | None = None,
) -> LabelImages:
    """Makes a data set of label images.

    Args:
        form: Name of the form, for the user.
        pairs: The images.
        request: What the user asked for.
        named: The classes; None where they are not known.
        path: The file that names them, where it is not `Reading.classes`.
        coding: How label images are read; by default as `load_maps` does.

    Raises:
        errors.DataError: See `recognize`.
    """
    coding = coding or Coding(load_maps)
    reading = request.reading
    by_color = named is not None and named[0].color is not None
    scans = label_scan.scan(
        [one if is_labeled(one) else None for one in pairs],
        coding.load_maps,
        by_color=by_color,
        counts_regions=reading.loose == layers_lib.AS_COMPONENTS,
    )
    good = [scan for scan in scans if scan is not None]
    has_classes = any(SEMANTIC in one.paths for one in pairs if is_labeled(one))
    if not has_classes:
        naming = class_naming.name_objects(reading, str(request.data))
    elif named is not None:
        source = str(path or reading.classes)
        naming = class_naming.use_names(named, good, source)
    else:
        naming = class_naming.name_numbers(good, str(request.data), coding.void)
    known = class_naming.find_things(naming, good, has_classes)
    if coding.numbers_stuff:
        known = [None if flag else flag for flag in known]
    return LabelImages(
        _describe(form, pairs, good, naming),
        pairs,
        scans,
        naming,
        known,
        request.reading,
        coding,
    )


def _describe(
    form: str,
    pairs: Sequence[Pair],
    scans: Sequence[LabelScan],
    naming: Naming,
) -> str:
    """Describes what was found, and why it is of this form."""
    labeled = [one for one in pairs if is_labeled(one)]
    first = labeled[0].paths
    kinds = sorted({scan.kind.value for scan in scans if scan.kind})
    texts = []
    if SEMANTIC in first:
        meaning = ", ".join(kinds) or "damaged"
        if naming.by_color:
            meaning = f"colors of {naming.source}"
        texts.append(f"classes as in {first[SEMANTIC]} ({meaning})")
    if INSTANCE in first:
        texts.append(f"instances as in {first[INSTANCE]}")
    return (
        f"{form}: {len(labeled)} images as {first[IMAGE]}, with "
        f"{' and '.join(texts)}."
    )


def _warn_of_lone(pairs: Sequence[Pair], warn: Callable[[str], None]) -> None:
    """Warns of images without label, and labels without image."""
    bare = [str(p.paths[IMAGE]) for p in pairs if {*p.paths} == {IMAGE}]
    lone = [
        str(path)
        for p in pairs
        if IMAGE not in p.paths
        for path in p.paths.values()
    ]
    for what, other, paths in (
        ("images", "label image", bare),
        ("label images", "image", lone),
    ):
        if paths:
            warn(
                f"{len(paths)} {what} have no {other} of their name and are "
                f"left out: {json_values.summarize(paths, _MAX_NAMED)}."
            )


def _find_common_folder(paths: Sequence[pathlib.Path]) -> pathlib.Path:
    folders = [os.path.abspath(path.parent) for path in paths]
    common = os.path.commonpath(folders)
    relative = os.path.relpath(common)
    return pathlib.Path(common if relative.startswith("..") else relative)
