# SPDX-License-Identifier: Apache-2.0
"""Flags of several programs: a published data set and its splits."""

from typing import NamedTuple

from absl import flags

from deeplab2_like.console import path_flags
from deeplab2_like.recipes.published import sets

# Flags belong to the modules that call this one.
flags.disclaim_key_flags()


class PublishedFlags(NamedTuple):
    """The flags of a program.

    Attributes:
        root: Folder of the data set.
        split: Names of the splits to write; None for those that have labels.
        crowd: Whether crowds become void.
    """

    root: "flags.FlagHolder[str | None]"
    split: "flags.FlagHolder[list[str] | None]"
    crowd: "flags.FlagHolder[bool]"


def define(values: flags.FlagValues) -> PublishedFlags:
    """Defines the flags.

    Args:
        values: Flags of the program.
    """
    return PublishedFlags(
        path_flags.define(
            "root",
            None,
            "Folder of a published data set, whose name is the argument: "
            f"{', '.join(sets.list_keys())}.",
            flag_values=values,
        ),
        flags.DEFINE_list(
            "split",
            None,
            "With --root: splits to write, with commas between them, such as "
            "val,test. By default those that have labels.",
            flag_values=values,
        ),
        flags.DEFINE_bool(
            "treat_crowd_as_ignore",
            False,
            "With --root: make crowds void.",
            flag_values=values,
        ),
    )
