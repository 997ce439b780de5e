# SPDX-License-Identifier: Apache-2.0
"""What every form of data sets offers."""

import abc
import dataclasses
import pathlib
from collections.abc import Callable, Sequence

from deeplab2_like.data.coco.samples import Sample
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.tree import Tree

TRAIN, VAL = "train", "val"


@dataclasses.dataclass(frozen=True)
class Request:
    """What the user asked for.

    Attributes:
        data: The folder, or a file in it that describes the labels.
        image_dir: Folder of the images, where it is not to be found by
            looking; None to look.
        panoptic_dir: The same of the PNGs of segment ids.
        reading: What the user says about labels that do not say it themselves.
        form: `Form.key` of the form that the data are of; "" to look.
    """

    data: pathlib.Path
    image_dir: pathlib.Path | None = None
    panoptic_dir: pathlib.Path | None = None
    reading: Reading = dataclasses.field(default_factory=Reading)
    form: str = ""

    @property
    def root(self) -> pathlib.Path:
        """The folder to look through."""
        return self.data if self.data.is_dir() else self.data.parent


@dataclasses.dataclass(frozen=True, slots=True)
class Example:
    """An image with its label, not loaded yet.

    Attributes:
        name: Name of the image, unique in its split.
        split: `TRAIN`, `VAL`, or "" where the data do not say.
        class_ids: Indices of the classes that its label says to have.
        load: Function that loads it, which raises `errors.DataError` where it
            cannot be used.
        path: Path of the image; "" where it is no file of its own.
        label_path: Path of the label where it is an image file, or "".
    """

    name: str
    split: str
    class_ids: frozenset[int]
    load: Callable[[], Sample]
    path: str = ""
    label_path: str = ""


class Source(abc.ABC):
    """A data set in a form that is understood.

    Attributes:
        title: What was found, a line for the user.
        image_dir: Folder with images, for the command that predicts them.
        question: Sentence that asks the user for what the labels do not say;
            "" where nothing is open. Records are written when it is answered.
    """

    title: str
    image_dir: pathlib.Path
    question: str = ""

    @abc.abstractmethod
    def describe(self, name: str) -> tuple[str, list[str]]:
        """Writes the descriptor of the data set.

        Args:
            name: Name of the data set.

        Returns:
            Text format of `DatasetDescriptor`, and sentences that say what the
            user should check.

        Raises:
            errors.DataError: The classes cannot be described.
        """

    @abc.abstractmethod
    def list_examples(
        self, descriptor: DatasetDescriptor, warn: Callable[[str], None]
    ) -> Sequence[Example]:
        """Lists the images, after all checks that need no pixels.

        Args:
            descriptor: The data set, read from the text of `describe`.
            warn: Function that is called with sentences about what is left
                out.

        Raises:
            errors.DataError: Files are missing or do not agree.
        """


@dataclasses.dataclass(frozen=True)
class Form:
    """A form of data sets.

    Attributes:
        key: Its name on command lines.
        name: Its name, for the user.
        content: What it consists of, for the user.
        recognize: Function that returns the data set where a folder is of this
            form, and None where it is of another; it raises `errors.DataError`
            where it is of this form and cannot be used.
    """

    key: str
    name: str
    content: str
    recognize: Callable[[Tree, Request], Source | None]
