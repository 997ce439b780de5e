# SPDX-License-Identifier: Apache-2.0
"""What forms have in common whose labels become `labels.layers.Layers`."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Iterable, Sequence

from deeplab2_like import errors
from deeplab2_like.data.coco import descriptions
from deeplab2_like.data.coco import samples as coco_samples
from deeplab2_like.data.coco.entries import Entry
from deeplab2_like.labels import json_values
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.labels.coco_json import Category
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.labels.layers import Layers
from deeplab2_like.recipes.forms import places
from deeplab2_like.recipes.forms import reading as reading_lib
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.source import TRAIN, VAL, Example, Source
from deeplab2_like.storage import exif_convention


@dataclasses.dataclass(frozen=True, slots=True)
class LabeledImage:
    """An image with its label, not loaded yet.

    Attributes:
        path: Path of the image, as text: there may be very many.
        name: Path below the folder of images, without extension.
        split: As in `Example`.
        class_ids: Indices of its classes.
        read: Function from the (height, width) of the image to its layers, and
            a sentence about what is left out, or ""; it raises
            `errors.DataError` where the label cannot be used.
        size: (height, width) of the label; None where it has none of its own.
        label_path: Path of the label where it is an image file, or "".
        error: Why image or label cannot be used; None where that is not known.
    """

    path: str
    name: str
    split: str
    class_ids: frozenset[int]
    read: Callable[[tuple[int, int]], tuple[Layers, str]]
    size: tuple[int, int] | None = None
    label_path: str = ""
    error: errors.DataError | None = None


class ClassTable:
    """The classes of a data set, in the order of their indices.

    Attributes:
        categories: The classes by rising id, with names that differ;
            `is_thing` is True or False.
        names: Their names.
        question: See `Source`.
        notes: Sentences that say what the user should check.
        background: Index of the class of pixels that no form covers, or
            `layers.VOID`.
        order: See `layers.paint`.
    """

    def __init__(
        self,
        found: Iterable[Category],
        reading: Reading,
        source: str,
        *,
        has_background: bool = True,
    ):
        """Chooses things and background.

        Args:
            found: The classes of the labels; `is_thing` is None where they do
                not say it.
            reading: What the user says.
            source: Path of the file or folder with the classes.
            has_background: Whether a class is added for pixels that no form
                covers, unless the user does not want it.

        Raises:
            errors.DataError: See `descriptions.order_categories`.
            errors.ConfigError: The user names a class that does not exist.
        """
        categories, twice = descriptions.order_categories(found, source)
        self.background = layers_lib.VOID
        if has_background:
            categories, self.background = reading_lib.add_background(
                categories, reading
            )
        self.names = [category.name for category in categories]
        chosen = reading_lib.choose_things(
            self.names, [one.is_thing for one in categories], reading
        )
        self.categories = [
            dataclasses.replace(category, is_thing=flag)
            for category, flag in zip(categories, chosen.flags, strict=True)
        ]
        self.question = chosen.question
        self.order = reading.read_order(self.names)
        self.source = source
        self.notes = []
        if twice:
            self.notes.append(
                "Several categories have the name "
                f"{json_values.summarize(twice, 8)}: their ids were added."
            )

    def index_of_id(self) -> dict[int, int]:
        """Returns the index of each class by its id."""
        return {one.id: index for index, one in enumerate(self.categories)}

    def is_thing(self, index: int) -> bool:
        """Returns whether a class has instances."""
        return index >= 0 and bool(self.categories[index].is_thing)


class LabelSource(Source):
    """A data set whose labels become layers."""

    def __init__(self, title: str, table: ClassTable, reading: Reading):
        """Stores what is known before the images are listed.

        Args:
            title: See `Source`.
            table: The classes.
            reading: What the user says.
        """
        self.title = title
        self.table = table
        self.reading = reading
        self.question = table.question

    @abc.abstractmethod
    def list_images(self, warn: Callable[[str], None]) -> list[LabeledImage]:
        """Lists the images, after all checks that need no pixels.

        Args:
            warn: See `Source.list_examples`.

        Raises:
            errors.DataError: Files are missing or do not agree.
        """

    @abc.abstractmethod
    def count_most_instances(self) -> int:
        """Counts the most instances of a class in an image, or a bound."""

    def describe(self, name: str) -> tuple[str, list[str]]:
        """Writes the descriptor; see `Source`."""
        table = self.table
        notes = list(table.notes)
        text = descriptions.write_description(
            table.categories,
            name,
            most=self.count_most_instances(),
            source=table.source,
            notes=notes,
        )
        return text, notes

    def list_examples(
        self, descriptor: DatasetDescriptor, warn: Callable[[str], None]
    ) -> Sequence[Example]:
        """Lists the images; see `Source`."""
        images = _settle_splits(self.list_images(warn), warn)
        prefers_upright = exif_convention.prefers_upright(
            [
                exif_convention.Photo(
                    one.name, one.path, one.label_path, one.size
                )
                for one in images
            ],
            exif_convention.AUTO,
            warn,
        )
        return [
            Example(
                one.name,
                one.split,
                one.class_ids,
                functools.partial(
                    _load_sample,
                    one,
                    descriptor,
                    self.reading.loose,
                    prefers_upright,
                ),
                one.path,
                one.label_path,
            )
            for one in sorted(images, key=lambda one: (one.split, one.name))
        ]


def _settle_splits(
    images: Sequence[LabeledImage], warn: Callable[[str], None]
) -> list[LabeledImage]:
    """Leaves out images for tests, and splits that do not cover all images."""
    kept = [one for one in images if one.split != places.TEST]
    if len(kept) < len(images):
        warn(
            f"{len(images) - len(kept)} images are in a folder for tests and "
            "are left out."
        )
    found = {one.split for one in kept}
    if found == {TRAIN, VAL}:
        return kept
    if len(found) > 1:
        warn(
            "Some images are in folders for training or evaluation and others "
            "are not: these folders are not looked at, and images for "
            "evaluation are set aside from all."
        )
    return [dataclasses.replace(one, split="") for one in kept]


def _load_sample(
    one: LabeledImage,
    descriptor: DatasetDescriptor,
    loose: str,
    prefers_upright: bool,
) -> coco_samples.Sample:
    """Loads an image with its label."""
    entry = Entry(
        one.name, one.path, size=one.size, prefers_upright=prefers_upright
    )
    if one.error is not None:
        raise one.error
    layers, note = None, ""
    size = one.size
    if one.label_path:
        layers, note = one.read((0, 0))
        size = layers.size
    image = coco_samples.load_image(entry, size)
    coco_samples.check_sizes(
        entry, {"the image": image.size, "the label": size}
    )
    if layers is None:
        layers, note = one.read(image.size)
    panoptic, instances, num_crowds = layers_lib.to_panoptic(
        layers, descriptor, loose=loose, where=f"Image {one.name!r}"
    )
    return image.with_label(
        one.name, panoptic, instances, num_crowds, note=note
    )


def describe_left_out(name: str, empty: Sequence[str], num_hidden: int) -> str:
    """Describes the objects of an image that no pixel is seen of.

    Args:
        name: The image.
        empty: Objects that cover the center of no pixel.
        num_hidden: Number of objects that others cover completely.

    Returns:
        A sentence; "" where there is none.
    """
    parts = []
    if empty:
        parts.append(
            f"{len(empty)} that cover no pixel of it "
            f"({json_values.summarize(empty)})"
        )
    if num_hidden:
        parts.append(f"{num_hidden} that others cover completely")
    if not parts:
        return ""
    return f"Image {name!r}: objects are left out, {' and '.join(parts)}."


def refuse(where: str, problem: str, fix: str) -> errors.DataError:
    """Makes the error of a label that cannot be used.

    Args:
        where: File and place.
        problem: What is wrong, with a full stop.
        fix: What to do.
    """
    return errors.DataError(f"{where}: {problem} {fix}")
