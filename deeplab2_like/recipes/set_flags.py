# SPDX-License-Identifier: Apache-2.0
"""Flags of deeplab2-prepare for published data sets."""

import os
import pathlib
from collections.abc import Sequence

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import path_flags
from deeplab2_like.recipes.published import preparing, sets
from deeplab2_like.recipes.published.items import Request

# Flags belong to the modules that call this one.
flags.disclaim_key_flags()

# Flags that say how a folder is read whose form is not known.
_OTHERS = (
    "image_dir",
    "panoptic_dir",
    "label_dir",
    "instance_dir",
    "things",
    "stuff",
    "classes",
    "write",
    "picture",
)


class SetFlags:
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

    def is_meant(self, arguments: Sequence[str]) -> bool:
        """Returns whether a published data set is asked for.

        Args:
            arguments: Those of the program that are not flags.
        """
        if self.values["root"].value:
            return True
        return (
            len(arguments) == 1
            and arguments[0] in sets.list_keys()
            and not os.path.exists(arguments[0])
        )

    def prepare(
        self,
        arguments: Sequence[str],
        out: str | None,
        form: str,
        *,
        overwrite: bool,
    ) -> list[str]:
        """Writes the records of a published data set.

        Args:
            arguments: Those of the program that are not flags.
            out: Folder to write; None to look only.
            form: Form of the labels; "" for the one that is there.
            overwrite: Whether older records are replaced.

        Returns:
            Lines for the user.

        Raises:
            errors.UserError: See `preparing.prepare`; or the flags do not
                suit.
        """
        values = self.values
        if len(arguments) != 1:
            raise errors.ConfigError(
                f"--root needs the name of one data set, not {len(arguments)}: "
                f"{', '.join(sets.list_keys())}. For example "
                "deeplab2-prepare cityscapes --root=data --out=records."
            )
        root = values["root"].value
        if not root:
            raise errors.ConfigError(
                f"--root is missing: the folder into which the archives of "
                f"{sets.find_set(arguments[0]).title} were unpacked."
            )
        others = [name for name in _OTHERS if values[name].present]
        if others:
            raise errors.ConfigError(
                f"--{others[0]} is of no use with --root: folders and classes "
                "of a published data set are known. Leave it out."
            )
        count = values["num_processes"].value
        request = Request(
            arguments[0],
            pathlib.Path(root),
            pathlib.Path(out) if out else None,
            tuple(filter(None, values["split"].value or ())),
            form,
            values["num_shards"].value,
            values["treat_crowd_as_ignore"].value,
            overwrite,
        )
        return preparing.prepare(
            request, num_processes=count or os.cpu_count() or 1
        )


def define(values: flags.FlagValues) -> SetFlags:
    """Defines the flags.

    Args:
        values: Flags of the program.
    """
    path_flags.define(
        "root",
        None,
        "Folder of a published data set, whose name is the argument: "
        f"{', '.join(sets.list_keys())}.",
        flag_values=values,
    )
    flags.DEFINE_list(
        "split",
        None,
        "With --root: splits to write, with commas between them, such as "
        "val,test. By default those that have labels.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_shards",
        0,
        "With --root: files for each split; 0: as many as deeplab2 writes.",
        lower_bound=0,
        flag_values=values,
    )
    flags.DEFINE_bool(
        "treat_crowd_as_ignore",
        False,
        "With --root: make crowds void.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "num_processes",
        0,
        "With --root: processes that load images; 0: one for each core.",
        lower_bound=0,
        flag_values=values,
    )
    return SetFlags(values)
