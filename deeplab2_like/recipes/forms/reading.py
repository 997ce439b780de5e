# SPDX-License-Identifier: Apache-2.0
"""What a user says about labels where these do not say it themselves."""

import dataclasses
import pathlib
from collections.abc import Sequence

from deeplab2_like import errors
from deeplab2_like.labels import coco_json_types, json_values
from deeplab2_like.labels import layers as layers_lib

ALL = "all"
# Name of `background` where uncovered pixels have no class.
VOID_NAME = "void"
_BACKGROUND = "background"
_GREY = (128, 128, 128)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How labels are read.

    Attributes:
        things: Names of the classes with instances, the others are stuff;
            ("all",) for all; None where the user did not say.
        stuff: Names of the classes without, the others are things; None where
            the user did not say.
        classes: File of the classes, for labels without names.
        overlap: `layers.SMALLER`, `layers.LATER`, or names of classes with
            commas between them, from the lowest to the one on top.
        background: Name of the stuff class of pixels that no form covers;
            "void" where they are not scored.
        loose: `layers.AS_VOID` or `layers.AS_COMPONENTS`, what becomes of a
            thing's pixels without an instance.
        label_dir: Folder of the label images of classes, where it is not
            found by looking.
        instance_dir: The same of those of instances.
    """

    things: tuple[str, ...] | None = None
    stuff: tuple[str, ...] | None = None
    classes: pathlib.Path | None = None
    overlap: str = layers_lib.SMALLER
    background: str = _BACKGROUND
    loose: str = layers_lib.AS_VOID
    label_dir: pathlib.Path | None = None
    instance_dir: pathlib.Path | None = None

    @property
    def fills_background(self) -> bool:
        """Whether pixels that no form covers get a class."""
        return self.background != VOID_NAME

    def read_order(self, names: Sequence[str]) -> str | list[int]:
        """Returns `overlap` as `layers.paint` takes it.

        Args:
            names: Names of the classes by index.

        Raises:
            errors.ConfigError: It names a class that does not exist.
        """
        if self.overlap in (layers_lib.SMALLER, layers_lib.LATER):
            return self.overlap
        wanted = [name.strip() for name in self.overlap.split(",")]
        _check_names("overlap", wanted, names)
        return [names.index(name) for name in wanted]


@dataclasses.dataclass(frozen=True)
class Things:
    """Which classes have instances.

    Attributes:
        flags: Whether each class has.
        question: Sentence that asks the user; "" where it is certain.
    """

    flags: tuple[bool, ...]
    question: str = ""


def choose_things(
    names: Sequence[str], known: Sequence[bool | None], reading: Reading
) -> Things:
    """Chooses which classes are things.

    Args:
        names: Names of the classes.
        known: What the labels say about each; None where they do not.
        reading: What the user says, which decides.

    Raises:
        errors.ConfigError: A name is of no class, or of both kinds.
    """
    things, stuff = reading.things, reading.stuff
    _check_names("things", things or (), names)
    _check_names("stuff", stuff or (), names)
    both = sorted({*(things or ())} & {*(stuff or ())})
    if both:
        raise errors.ConfigError(
            f"--things and --stuff both name {json_values.summarize(both)}. A "
            "class is one or the other."
        )
    if things == (ALL,):
        things, stuff = None, stuff or ()
    if things is not None or stuff is not None:
        flags = tuple(
            name in things
            if things is not None
            else name not in (stuff or ()) and flag is not False
            for name, flag in zip(names, known, strict=True)
        )
        unnamed = [
            name
            for name in names
            if stuff and things and name not in (*things, *stuff)
        ]
        if unnamed:
            raise errors.ConfigError(
                f"Neither --things nor --stuff names "
                f"{json_values.summarize(unnamed, 8)}. Give one of the flags "
                "alone, or each class in one of them."
            )
        return Things(flags)
    flags = tuple(flag is not False for flag in known)
    unknown = [
        name for name, flag in zip(names, known, strict=True) if flag is None
    ]
    if not unknown:
        return Things(flags)
    return Things(
        flags,
        "Which of these classes are things, whose objects are counted, the "
        f"labels do not say: {json_values.summarize(unknown, 12)}. Name the "
        "others with --stuff=NAME,NAME, or these with --things=NAME,NAME, or "
        "say --things=all.",
    )


def _check_names(
    flag: str, wanted: Sequence[str], names: Sequence[str]
) -> None:
    if flag == "things" and tuple(wanted) == (ALL,):
        return
    missing = [name for name in wanted if name not in names]
    if missing:
        raise errors.ConfigError(
            f"--{flag} names {json_values.summarize(missing)}, which is no "
            f"class of the labels. The classes are "
            f"{json_values.summarize(names, 12)}."
        )


def add_background(
    categories: Sequence[coco_json_types.Category], reading: Reading
) -> tuple[list[coco_json_types.Category], int]:
    """Adds the class of pixels that no form covers, if there is one.

    Args:
        categories: The classes of the labels.
        reading: What the user says.

    Returns:
        All classes by rising id; and the index of the background among them,
        or `layers.VOID`. A class of that name is taken where there is one.
    """
    ordered = sorted(categories, key=lambda one: one.id)
    if not reading.fills_background:
        return ordered, layers_lib.VOID
    for index, category in enumerate(ordered):
        if category.name == reading.background:
            return ordered, index
    used = {category.id for category in ordered}
    free = 0 if 0 not in used else max(used) + 1
    added = coco_json_types.Category(
        free, reading.background, is_thing=False, color=_GREY
    )
    ordered = sorted([*ordered, added], key=lambda one: one.id)
    return ordered, ordered.index(added)
