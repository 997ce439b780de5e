# SPDX-License-Identifier: Apache-2.0
"""Finds configs, data set descriptors and the schema by name.

A name is looked up as a file, then in the installed configs, then in the
checkout that the package is imported from.
"""

import fnmatch
import importlib.util
import os
import pathlib

from deeplab2_like.config.problems import (
    InvalidConfigError,
    Problem,
    nearest_first,
)
from deeplab2_like.storage import user_paths

SUFFIX = ".textproto"
DATASETS = "datasets"
# A larger file is no config.
_SIZE_LIMIT_BYTES = 1 << 20
_NAMES_SHOWN = 12


def _data_folders(package: str, checkout_folder: str) -> list[pathlib.Path]:
    """Lists the existing folders of a data-only package, then the checkout's.

    Args:
        package: Import name of the data in an installed package.
        checkout_folder: Name of the same folder at the root of a checkout.
    """
    spec = importlib.util.find_spec(package)
    found = list(spec.submodule_search_locations or ()) if spec else []
    folders = list(map(pathlib.Path, found))
    root = pathlib.Path(__file__).resolve().parents[2]
    if (root / "setup.cfg").is_file():  # Not the site-packages of a wheel.
        folders.append(root / checkout_folder)
    return [folder for folder in folders if folder.is_dir()]


def config_folders() -> list[pathlib.Path]:
    """Lists the folders that shipped configs are looked up in."""
    return _data_folders("deeplab2_like.configs", "configs")


def schema_folders() -> list[pathlib.Path]:
    """Lists the folders with the *.proto files of the schema."""
    return _data_folders("deeplab2_like.schema", "protos")


def list_configs(pattern: str = "*") -> list[str]:
    """Lists the names of the shipped configs, without data sets.

    Args:
        pattern: Of the names, such as "cityscapes/*resnet50*"; `*` matches
            any text, `?` one character, `[ab]` one of several.
    """
    return [
        name
        for name in _list_names()
        if not name.startswith(f"{DATASETS}/")
        and fnmatch.fnmatchcase(name, pattern)
    ]


def list_datasets() -> list[str]:
    """Lists the names of the shipped data set descriptors."""
    prefix = f"{DATASETS}/"
    return [
        name.removeprefix(prefix)
        for name in _list_names()
        if name.startswith(prefix)
    ]


def _list_names() -> list[str]:
    names = set()
    for folder in config_folders():
        for path in folder.rglob(f"*{SUFFIX}"):
            names.add(path.relative_to(folder).as_posix().removesuffix(SUFFIX))
    return sorted(names)


def _is_file(path: pathlib.Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # Too long a name, or a NUL in it.
        return False


def _find_shipped(name: str) -> pathlib.Path | None:
    relative = name.removeprefix("./").removeprefix("configs/")
    if not relative or relative.startswith("/") or ".." in relative.split("/"):
        return None
    for folder in config_folders():
        for candidate in (relative, relative + SUFFIX):
            if _is_file(folder / candidate):
                return folder / candidate
    return None


def _expand(name: str, what: str) -> str:
    """Returns a path with `~` replaced; raises an error for unusable ones."""
    problem = user_paths.find_problem(name)
    if problem:
        raise InvalidConfigError(
            [Problem("", "", f"{what} {name!r} {problem}")]
        )
    return os.path.expanduser(name)


def find_config(name_or_path: str) -> pathlib.Path:
    """Returns the path of a config.

    Args:
        name_or_path: Path of a file, or the name of a shipped config as
            in `list_configs`.

    Raises:
        InvalidConfigError: There is none; the text lists the known names.
    """
    name = _expand(str(name_or_path), "Config")
    path = pathlib.Path(name)
    if name and _is_file(path):
        return path
    shipped = _find_shipped(name)
    if shipped is not None:
        return shipped
    known = nearest_first(
        name.removeprefix("configs/").removesuffix(SUFFIX), list_configs()
    )
    listed = ", ".join(known[:_NAMES_SHOWN]) or "none"
    if len(known) > _NAMES_SHOWN:
        listed += f" and {len(known) - _NAMES_SHOWN} more"
    what = "is a folder" if name and _is_folder(path) else "does not exist"
    raise InvalidConfigError(
        [
            Problem(
                "",
                "",
                f"Config {name!r} {what}",
                f"Give the path of a textproto file, or one of: {listed}.",
            )
        ]
    )


def _is_folder(path: pathlib.Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def find_dataset(name: str, folder: pathlib.Path | None) -> pathlib.Path | None:
    """Returns the path of a data set descriptor; None when there is none.

    Args:
        name: Name of a shipped descriptor, or a path that ends in
            ".textproto", relative to `folder` or to the working directory.
        folder: Folder of the config that names the data set. It is looked up
            first, so that both files can be moved together.
    """
    if name.endswith(SUFFIX):
        name = _expand(name, "The data set")
        bases = ([folder] if folder is not None else []) + [pathlib.Path()]
        for base in bases:
            if _is_file(base / name):
                return base / name
        name = name.removesuffix(SUFFIX)
    if "/" in name.removeprefix(f"{DATASETS}/"):
        return _find_shipped(name) if name.startswith("configs/") else None
    return _find_shipped(f"{DATASETS}/{name.removeprefix(f'{DATASETS}/')}")


def read_text(path: pathlib.Path) -> str:
    """Reads a small UTF-8 text file.

    Raises:
        InvalidConfigError: The file cannot be read, is too large or is no
            such text.
    """
    fix = "A config is a UTF-8 text file in protobuf text format."
    try:
        with open(path, "rb") as stream:
            data = stream.read(_SIZE_LIMIT_BYTES + 1)
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror or error}", fix)
    if len(data) > _SIZE_LIMIT_BYTES:
        _refuse(path, f"is larger than {_SIZE_LIMIT_BYTES} bytes", fix)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        _refuse(path, f"is not UTF-8 (byte {error.start})", fix, line)
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        _refuse(path, "is a binary file", fix, line)
    return text


def _refuse(path: pathlib.Path, what: str, fix: str, line: int = 0) -> None:
    raise InvalidConfigError(
        [Problem("", "", f"The file {what}", fix, line, source=str(path))]
    )
