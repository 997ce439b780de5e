# SPDX-License-Identifier: Apache-2.0
"""Reads data.yaml of YOLO data sets.

Values are taken as they are written: a class named `no` or `1.0` is a text.
Keys that are not needed here are passed over.
"""

import dataclasses
import pathlib
import re

import yaml

from deeplab2_like import errors
from deeplab2_like.labels import json_values

_NUMBER = re.compile(r"[0-9]{1,6}")
_SPLITS = ("train", "val", "valid", "test")
_FORMS = "It must be a list, [car, tree], or a table, {0: car, 1: tree}."
# Lists of classes have thousands of characters; PyYAML reads 100 kB a second.
_MAX_BYTES = 1 << 20


@dataclasses.dataclass(frozen=True)
class DataYaml:
    """The content of a file.

    Attributes:
        path: The file.
        names: Names of the classes by number.
        root: `path` in it, or "".
        places: Folders or lists of images by split; "valid" is "val".
    """

    path: pathlib.Path
    names: dict[int, str]
    root: str
    places: dict[str, list[str]]


def load(path: pathlib.Path) -> DataYaml:
    """Loads a file.

    Args:
        path: The file.

    Raises:
        errors.DataError: It cannot be read, or does not name the classes; the
            text names file and line.
    """
    fields = _read_fields(path)
    if "names" not in fields:
        raise errors.DataError(
            f"{path} has no `names`, the names of the classes. {_FORMS}"
        )
    try:
        names = _read_names(fields["names"])
    except ValueError as error:
        line = fields["names"].start_mark.line + 1
        raise errors.DataError(
            f"{path}:{line}: `names` {error} {_FORMS}"
        ) from error
    count = _read_list(fields.get("nc"))
    if count and count[0].isdecimal() and int(count[0][:9]) != len(names):
        raise errors.DataError(
            f"{path}: `nc` is {count[0][:9]}, but `names` has {len(names)} "
            "classes. Correct one of them."
        )
    places = {
        "val" if split == "valid" else split: _read_list(fields[split])
        for split in _SPLITS
        if split in fields
    }
    root = _read_list(fields.get("path"))
    return DataYaml(path, names, root[0] if root else "", places)


def _read_fields(path: pathlib.Path) -> dict[str, yaml.Node]:
    """Returns the values of a file by key, not converted.

    Raises:
        errors.DataError: It cannot be read, or is no table in YAML.
    """
    try:
        data = path.read_bytes()
        if len(data) > _MAX_BYTES:
            raise errors.DataError(
                f"{path} has {len(data)} bytes. A data.yaml has at most "
                f"{_MAX_BYTES}: give that of the data."
            )
        root = yaml.compose(data.decode("utf-8-sig"), yaml.BaseLoader)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text in UTF-8"
        raise errors.DataError(
            f"{path} cannot be read ({reason}). Give the data.yaml of the data."
        ) from error
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = "" if mark is None else f":{mark.line + 1}"
        reason = getattr(error, "problem", None) or type(error).__name__
        raise errors.DataError(
            f"{path}{line}: not YAML ({reason}). Correct the file."
        ) from error
    if not isinstance(root, yaml.MappingNode):
        raise errors.DataError(
            f"{path} is no table with `names`, the names of the classes. "
            f"{_FORMS}"
        )
    return {
        key.value: value
        for key, value in root.value
        if isinstance(key, yaml.ScalarNode)
    }


def _read_names(node: yaml.Node) -> dict[int, str]:
    if isinstance(node, yaml.SequenceNode):
        pairs = [(i, _read_text(name)) for i, name in enumerate(node.value)]
    elif isinstance(node, yaml.MappingNode):
        pairs = [
            (_read_number(key), _read_text(name)) for key, name in node.value
        ]
    else:
        pairs = []
    names = [name for _, name in pairs]
    if not pairs or not all(names):
        raise ValueError("has no name, or an empty one.")
    twice = [
        *json_values.find_duplicates([number for number, _ in pairs]),
        *json_values.find_duplicates(names),
    ]
    if twice:
        raise ValueError(f"has {json_values.summarize(twice)} twice.")
    if not all(name.isprintable() for name in names):
        raise ValueError("has characters that are not printed.")
    return dict(sorted(pairs))


def _read_text(node: yaml.Node) -> str:
    if not isinstance(node, yaml.ScalarNode):
        line = node.start_mark.line + 1
        raise ValueError(f"has a list or a table in line {line}, not a name.")
    return str(node.value).strip()


def _read_number(node: yaml.Node) -> int:
    text = _read_text(node)
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"has the key {text[:40]!r}, which is no number.")
    return int(text)


def _read_list(node: yaml.Node | None) -> list[str]:
    """Reads a text or a list of texts; what is something else is left out."""
    nodes = node.value if isinstance(node, yaml.SequenceNode) else [node]
    return [
        one.value
        for one in nodes
        if isinstance(one, yaml.ScalarNode) and one.value
    ]
