# SPDX-License-Identifier: Apache-2.0
"""Names of TensorFlow Datasets in the place of file patterns.

    tfds:NAME[/CONFIG][:VERSION][:SPLIT][@DIR]

such as `tfds:coco/2017_panoptic:train` or `tfds:cityscapes:train@/data/tfds`.
"""

import dataclasses
import os
import re

from deeplab2_like import errors

PREFIX = "tfds:"
TRAIN, VALIDATION = "train", "validation"
_WORD = re.compile(r"\w[\w.-]*")
_VERSION = re.compile(r"\d+\.\d+\.\d+")
_FORM = f"{PREFIX}NAME/CONFIG:SPLIT@DIR"
# Configs whose labels are read, by data set; the first is taken where none is
# named.
CONFIGS = {
    "coco": ("2017_panoptic",),
    "cityscapes": ("semantic_segmentation", "semantic_segmentation_extra"),
}
# Names whose first config in TFDS itself is another one.
_NAMED_CONFIG = ("coco",)


@dataclasses.dataclass(frozen=True)
class TfdsName:
    """A split of a data set of TFDS.

    Attributes:
        name: The data set.
        config: Its config.
        version: Its version; "" for the newest that is prepared.
        split: The split; "" where none is named.
        folder: Folder of all data sets; "" for that of TFDS.
    """

    name: str
    config: str
    version: str = ""
    split: str = ""
    folder: str = ""

    @property
    def full_name(self) -> str:
        """Name, config and version as TFDS writes them."""
        version = f":{self.version}" if self.version else ""
        return f"{self.name}/{self.config}{version}"


def is_name(pattern: str) -> bool:
    """Returns whether a file pattern names a data set of TFDS."""
    return pattern.startswith(PREFIX)


def parse(pattern: str) -> TfdsName:
    """Parses the name of a data set.

    Args:
        pattern: For which `is_name` is true.

    Raises:
        errors.DataError: It is no such name, or names what is not read.
    """
    rest, at, folder = pattern[len(PREFIX) :].partition("@")
    if at and not folder:
        raise _refuse(pattern, "ends with @. Write the folder behind it")
    path, *parts = rest.split(":")
    name, slash, config = path.partition("/")
    version = ""
    if parts and _VERSION.fullmatch(parts[0]):
        version = parts.pop(0)
    split = parts.pop(0) if parts else ""
    words = [name, *([config] if slash else []), *([split] if split else [])]
    if "[" in split or "+" in split:
        raise _refuse(
            pattern,
            f"asks for {':'.join([split, *parts])!r}. Whole splits are read: "
            f"write one, such as {TRAIN}; several are several patterns",
        )
    if parts or not all(map(_WORD.fullmatch, words)):
        raise _refuse(pattern, f"is not of the form {_FORM}")
    known = CONFIGS.get(name, ())
    if not config and known and name not in _NAMED_CONFIG:
        config = known[0]
    if config not in known:
        listed = ", ".join(
            f"{PREFIX}{one}/{entry}"
            for one, entries in CONFIGS.items()
            for entry in entries
        )
        raise _refuse(
            pattern,
            "has no labels that are read here. Read are "
            f"{listed}. Write records of other data (docs/data.md)",
        )
    return TfdsName(name, config, version, split, folder)


def _refuse(pattern: str, why: str) -> errors.DataError:
    return errors.DataError(f"File pattern {pattern!r} {why}.")


def add_split(pattern: str, split: str) -> str:
    """Adds a split to the name of a data set that has none.

    Args:
        pattern: Any file pattern; what is wrong with it stays.
        split: The split.
    """
    if not is_name(pattern):
        return pattern
    try:
        found = parse(pattern)
    except errors.DataError:
        return pattern
    if found.split:
        return pattern
    name, at, folder = pattern.partition("@")
    return f"{name}:{split}{at}{folder}"


def find_folder(name: TfdsName) -> str:
    """Returns the folder of all data sets, as TFDS chooses it.

    Args:
        name: A data set.
    """
    folder = name.folder or os.environ.get("TFDS_DATA_DIR", "")
    folder = folder or os.path.join("~", "tensorflow_datasets")
    return os.path.expanduser(folder)
