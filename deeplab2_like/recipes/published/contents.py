# SPDX-License-Identifier: Apache-2.0
"""Says which records of a published data set are in a folder."""

import dataclasses
import os
import pathlib
import shlex
from collections.abc import Mapping, Sequence

from deeplab2_like import errors
from deeplab2_like.recipes.published import manifest_file


@dataclasses.dataclass(frozen=True)
class Shards:
    """The shards of a split.

    Attributes:
        lengths: Number of records of each.
        num_bytes: Bytes of all.
    """

    lengths: Sequence[int]
    num_bytes: int


def find_splits(key: str, folder: pathlib.Path) -> Mapping[str, Shards]:
    """Finds the splits that deeplab2-prepare wrote to a folder.

    Args:
        key: Name of the data set.
        folder: The folder.

    Returns:
        The shards by split.

    Raises:
        errors.DataError: There are none, or of another data set, or shards are
            missing.
    """
    content = manifest_file.load(folder)
    splits = content.get("splits", {})
    if not splits:
        raise errors.DataError(describe_missing(key, folder))
    if content.get("data_set") != key:
        raise errors.DataError(
            f"{folder} has records of {content.get('data_set')!r}, not of "
            f"{key!r}. Name the folder of these."
        )
    found = {}
    for split, entry in splits.items():
        shards = entry["shards"]
        missing = [name for name in shards if not (folder / name).exists()]
        if missing:
            raise errors.DataError(
                f"{folder} has {len(shards) - len(missing)} of {len(shards)} "
                f"files of split {split!r}. Copy the others, or write the "
                "split again with --overwrite."
            )
        found[split] = Shards(
            [int(shards[name]["images"]) for name in sorted(shards)],
            sum(int(one["bytes"]) for one in shards.values()),
        )
    return found


def describe_missing(key: str, folder: str | os.PathLike[str]) -> str:
    """Returns the sentence that there are no records, and how to write them.

    Args:
        key: Name of the data set.
        folder: Where they should be.
    """
    return (
        f"{os.fspath(folder)} has no records of {key!r}, and nothing is "
        "downloaded unasked. Write them: deeplab2-prepare "
        f"{key} --root=FOLDER_OF_THE_ARCHIVES --out="
        f"{shlex.quote(os.fspath(folder))}"
    )
