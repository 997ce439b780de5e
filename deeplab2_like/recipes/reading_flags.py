# SPDX-License-Identifier: Apache-2.0
"""Flags of several programs: where labels are, and how they are read."""

import pathlib

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import path_flags
from deeplab2_like.labels import layers as layers_lib
from deeplab2_like.recipes.forms.reading import Reading
from deeplab2_like.recipes.forms.source import Request

# Flags belong to the modules that call this one.
flags.disclaim_key_flags()


class ReadingFlags:
    """The flags of a program.

    Attributes:
        values: Flags of the program.
    """

    def __init__(self, values: flags.FlagValues):
        """Stores the flags.

        Args:
            values: Flags of the program.
        """
        self.values = values

    def make_request(self, data: pathlib.Path, form: str = "") -> Request:
        """Returns what the user said.

        Args:
            data: See `Request`.
            form: See `Request`.

        Raises:
            errors.ConfigError: A value cannot be used.
        """
        values = self.values
        for name in ("overlap", "background"):
            if not values[name].value.strip():
                raise errors.ConfigError(
                    f"--{name} is empty. See --help for what it may be."
                )
        reading = Reading(
            things=_to_names(values["things"].value),
            stuff=_to_names(values["stuff"].value),
            classes=_to_path(values["classes"].value),
            overlap=values["overlap"].value,
            background=values["background"].value,
            loose=values["loose"].value,
            label_dir=_to_path(values["label_dir"].value),
            instance_dir=_to_path(values["instance_dir"].value),
        )
        return Request(
            data,
            _to_path(values["image_dir"].value),
            _to_path(values["panoptic_dir"].value),
            reading,
            form,
        )


def _to_path(value: str | None) -> pathlib.Path | None:
    return pathlib.Path(value) if value else None


def _to_names(values: list[str] | None) -> tuple[str, ...] | None:
    if values is None:
        return None
    return tuple(name.strip() for name in values if name.strip())


def define(values: flags.FlagValues) -> ReadingFlags:
    """Defines the flags.

    Args:
        values: Flags of the program.
    """
    _define_folders(values)
    _define_rules(values)
    return ReadingFlags(values)


def _define_folders(values: flags.FlagValues) -> None:
    path_flags.define(
        "image_dir",
        None,
        "Folder of the images, where it is not found by looking.",
        flag_values=values,
    )
    path_flags.define(
        "panoptic_dir",
        None,
        "Folder of the PNGs of COCO-panoptic data, where it is not found by "
        "looking.",
        flag_values=values,
    )
    path_flags.define(
        "label_dir",
        None,
        "Folder of the label images of classes, where it is not found by "
        "looking.",
        flag_values=values,
    )
    path_flags.define(
        "instance_dir",
        None,
        "Folder of the label images of instances, where it is not found by "
        "looking.",
        flag_values=values,
    )


def _define_rules(values: flags.FlagValues) -> None:
    flags.DEFINE_list(
        "things",
        None,
        "Names of the classes whose objects are counted, with commas between "
        "them; the others are stuff. 'all' for all. Needed where the labels do "
        "not say it.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "stuff",
        None,
        "Names of the classes without objects, such as sky; the others are "
        "things.",
        flag_values=values,
    )
    path_flags.define(
        "classes",
        None,
        "File with the names of the classes, where the labels are numbers or "
        "colors: a line for each, 'NUMBER: NAME' or 'NAME: R, G, B', as "
        "labelmap.txt of CVAT.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "overlap",
        layers_lib.SMALLER,
        "Which object is on top where two overlap: 'smaller', the one of fewer "
        "pixels; 'later', in the order of the file; or names of classes with "
        "commas between them, the last on top.",
        flag_values=values,
    )
    flags.DEFINE_string(
        "background",
        Reading.background,
        "Name of the stuff class of pixels that no object covers; 'void' to "
        "leave them without a class, so that they are not learned nor scored.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "loose",
        layers_lib.AS_VOID,
        layers_lib.LOOSE_RULES,
        "What becomes of pixels of a thing class that belong to no object: "
        "'void', they are not scored; 'components', each connected region is "
        "an object.",
        flag_values=values,
    )
