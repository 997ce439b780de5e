# SPDX-License-Identifier: Apache-2.0
"""Finds the record files of data sets that TensorFlow Datasets has prepared.

TFDS writes TFRecord files, and `dataset_info.json`, which says how they are
named. Only these are read: TFDS need not be installed, and nothing is
downloaded.
"""

import json
import os
import re
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import tfds_names, user_paths
from deeplab2_like.storage.tfds_names import TfdsName

_INFO = "dataset_info.json"
_RECORDS = "tfrecord"
_TEMPLATE = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
_VERSION = re.compile(r"(\d+)\.(\d+)\.(\d+)")
# Archives that TFDS does not download, by config.
_ARCHIVES = {
    "semantic_segmentation": (
        "leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip"
    ),
    "semantic_segmentation_extra": (
        "leftImg8bit_trainvaltest.zip, leftImg8bit_trainextra.zip and "
        "gtCoarse.zip"
    ),
}


def find_shards(pattern: str) -> list[str]:
    """Finds the record files of a split.

    Args:
        pattern: Name of the data set; see `tfds_names`.

    Returns:
        The paths, in the order of the shards.

    Raises:
        errors.DataError: The name is refused, or the data set is not prepared
            or not complete.
    """
    name = tfds_names.parse(pattern)
    if not name.split:
        raise errors.DataError(
            f"File pattern {pattern!r} names no split. Write for example "
            f"{tfds_names.add_split(pattern, tfds_names.TRAIN)}."
        )
    root = tfds_names.find_folder(name)
    folder = _find_version(name, root)
    if folder is None:
        raise errors.DataError(_describe_missing(pattern, name, root))
    info = _read_info(folder)
    splits = {one.get("name"): one for one in info.get("splits", ())}
    if name.split not in splits:
        raise errors.DataError(
            f"File pattern {pattern!r} names the split {name.split!r}, but "
            f"{folder} has {', '.join(map(str, splits)) or 'none'}."
        )
    if info.get("fileFormat", _RECORDS) != _RECORDS:
        raise errors.DataError(
            f"{folder} has files of the format {info['fileFormat']}; read is "
            f"{_RECORDS}. Prepare it again with file_format='{_RECORDS}': "
            f"{_make_command(name, root)}"
        )
    names = _name_files(name, splits[name.split])
    there = set(_list(folder))
    missing = [one for one in names if one not in there]
    if missing or not names:
        raise errors.DataError(
            f"{folder} has {len(names) - len(missing)} of {len(names)} files "
            f"of split {name.split!r}. Copy the others, or prepare it again: "
            f"{_make_command(name, root)}"
        )
    return [f"{folder}/{one}" for one in names]


def _find_version(name: TfdsName, root: str) -> str | None:
    """Returns the folder of the newest version; None where there is none."""
    folder = "/".join([root.rstrip("/"), name.name, name.config])
    found = []
    for entry in _list(folder):
        match = _VERSION.fullmatch(entry)
        if not match or name.version not in ("", entry):
            continue
        if _INFO in _list(f"{folder}/{entry}"):
            found.append((tuple(map(int, match.groups())), entry))
    return f"{folder}/{max(found)[1]}" if found else None


def _list(folder: str) -> list[str]:
    """Lists the names in a folder; none where it is not there."""
    if user_paths.is_remote(folder):
        import tensorflow as tf  # Local folders are listed without it.

        try:
            entries = tf.io.gfile.listdir(folder)
        except tf.errors.OpError:
            return []
        return [entry.rstrip("/") for entry in entries]
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _read_info(folder: str) -> dict[str, Any]:
    path = f"{folder}/{_INFO}"
    try:
        if user_paths.is_remote(path):
            import tensorflow as tf

            with tf.io.gfile.GFile(path, "rb") as stream:
                content = json.loads(stream.read())
        else:
            with open(path, "rb") as stream:
                content = json.loads(stream.read())
        if isinstance(content, dict):
            return content
        problem = "it is no JSON object"
    except Exception as error:  # Of files, of JSON, and of addresses.
        problem = str(error)
    raise errors.DataError(
        f"{path} cannot be read: {problem}. Prepare the data set again."
    )


def _name_files(name: TfdsName, split: dict[str, Any]) -> list[str]:
    """Names the files of a split, as TFDS does."""
    count = len(split.get("shardLengths", ()))
    digits = max(5, len(str(count)))
    names = []
    for index in range(count):
        place, total = f"{index:0{digits}d}", f"{count:0{digits}d}"
        text = split.get("filepathTemplate") or _TEMPLATE
        for key, value in (
            ("DATASET", name.name),
            ("SPLIT", name.split),
            ("FILEFORMAT", _RECORDS),
            ("SHARD_INDEX", place),
            ("NUM_SHARDS", total),
            ("SHARD_X_OF_Y", f"{place}-of-{total}"),
        ):
            text = text.replace(f"{{{key}}}", value)
        names.append(text)
    return names


def _describe_missing(pattern: str, name: TfdsName, root: str) -> str:
    manual = ""
    if name.config in _ARCHIVES:
        manual = (
            f" First put {_ARCHIVES[name.config]} of www.cityscapes-dataset.com"
            f" into {root.rstrip('/')}/downloads/manual."
        )
    return (
        f"File pattern {pattern!r}: {name.full_name} is not prepared in "
        f"{root}, and nothing is downloaded unasked. Name another folder by "
        f"@DIR or TFDS_DATA_DIR, or prepare it: {_make_command(name, root)}"
        f"{manual}"
    )


def _make_command(name: TfdsName, root: str) -> str:
    return (
        'python -c "import tensorflow_datasets as tfds; '
        f"tfds.builder('{name.full_name}', data_dir='{root}')"
        '.download_and_prepare()"'
    )
