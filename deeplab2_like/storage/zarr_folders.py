# SPDX-License-Identifier: Apache-2.0
"""Opens Zarr arrays and OME-Zarr images, versions 2 and 3 of Zarr."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.storage import optional_packages, tiff_files

SUFFIX = ".zarr"
# The order of the axes of OME-Zarr before version 0.3.
_EARLY_AXES = "tczyx"


@dataclasses.dataclass(frozen=True)
class Level:
    """The array of an image at its largest resolution.

    Attributes:
        array: The array, of zarr.
        axes: Name of each dimension, "" where none is stored.
        scale: Length of a pixel along each dimension, in `units`; 1 where none
            is stored.
        units: Unit of each dimension, "" where none is stored.
    """

    array: Any
    axes: tuple[str, ...]
    scale: tuple[float, ...]
    units: tuple[str, ...]


def is_zarr(path: str | os.PathLike[str]) -> bool:
    """Returns whether a path is a folder that is named as Zarr arrays are."""
    return pathlib.PurePath(path).suffix.lower() == SUFFIX and os.path.isdir(
        path
    )


def read_format(path: str | os.PathLike[str]) -> int:
    """Returns the version of Zarr of a folder: 3, or 2."""
    return 3 if os.path.exists(os.path.join(path, "zarr.json")) else 2


def find_below(folder: str | os.PathLike[str]) -> list[pathlib.Path]:
    """Returns the Zarr folders in a folder, at any depth, sorted.

    What lies in these is not looked at, nor are hidden folders.
    """
    found = []
    for parent, names, _ in os.walk(folder):
        paths = {name: pathlib.Path(parent, name) for name in names}
        found += [path for path in paths.values() if is_zarr(path)]
        names[:] = [
            name
            for name, path in paths.items()
            if not is_zarr(path) and not name.startswith(".")
        ]
    return sorted(path for path in found if not path.name.startswith("."))


def open_largest(path: str, what: str, extra: str) -> Level:
    """Opens a Zarr array, or the largest array of an OME-Zarr image.

    Args:
        path: The folder.
        what: What needs zarr, see `optional_packages.load`.
        extra: The extra that installs it.

    Raises:
        DataError: It is none, or is damaged.
        InstallError: zarr is not installed.
    """
    zarr = optional_packages.load("zarr", what, extra)
    try:
        found = zarr.open(path, mode="r")
        if hasattr(found, "shape"):
            return _describe(found, _list_names(found), [1.0] * found.ndim, [])
        return _find_largest(found)
    except errors.DataError:
        raise
    except Exception as error:  # Of many kinds, for damaged files.
        reason = tiff_files.describe_error(error)
        raise errors.DataError(
            f"{path} cannot be read as a Zarr array or OME-Zarr image "
            f"({reason}). Give the folder of one."
        ) from error


def _describe(
    array: Any, names: Sequence[str], scale: Sequence[float], units: Any
) -> Level:
    count = array.ndim
    if len(names) != count:
        names = [""] * count
    if len(scale) != count:
        scale = [1.0] * count
    if len(units) != count:
        units = [""] * count
    return Level(array, tuple(names), tuple(scale), tuple(units))


def _list_names(array: Any) -> list[str]:
    """Returns the names of dimensions that version 3 of Zarr may have."""
    names = getattr(array.metadata, "dimension_names", None) or ()
    return [str(name or "").lower() for name in names]


def _find_largest(group: Any) -> Level:
    """Returns the largest array of an OME-Zarr image.

    Raises:
        ValueError, KeyError, ...: It has none.
    """
    attributes = dict(group.attrs)
    image = attributes.get("ome", attributes)
    if "multiscales" not in image:
        if "0" in group:  # As bioformats2raw writes files of several images.
            return _find_largest(group["0"])
        raise ValueError("its attributes have no multiscales")
    entry = image["multiscales"][0]
    sets = {str(d["path"]): d for d in entry["datasets"]}
    arrays = {path: group[path] for path in sets}
    path = max(arrays, key=lambda name: arrays[name].size)
    array = arrays[path]
    axes = entry.get("axes") or list(_EARLY_AXES)
    names = [str(a["name"] if isinstance(a, Mapping) else a) for a in axes]
    units = [
        str(a.get("unit") or "") if isinstance(a, Mapping) else "" for a in axes
    ]
    scale = [1.0] * array.ndim
    for owner in (sets[path], entry):
        for change in owner.get("coordinateTransformations") or ():
            if change.get("type") == "scale" and "scale" in change:
                scale = [
                    a * float(b)
                    for a, b in zip(scale, change["scale"], strict=True)
                ]
    return _describe(array, [n.lower() for n in names], scale, units)
