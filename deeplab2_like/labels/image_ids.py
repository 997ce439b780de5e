# SPDX-License-Identifier: Apache-2.0
"""Finds out which image is which: by id in two files, by the path of a file.

Ids may be numbers in one file and their digits in another. The name of a file
without its folder is no identity: `north/1.jpg` and `south/1.jpg` are two
images.
"""

import functools
import os
import pathlib
import re
from collections.abc import Iterable, Mapping

from deeplab2_like import errors
from deeplab2_like.labels import json_values

# createPanopticImgs.py of cityscapesScripts names the image so in the JSON.
_CITYSCAPES = re.compile(
    r"(?P<city>.+)(?P<frame>_\d{6}_\d{6})_gt(?:Fine|Coarse)"
    r"(?P<kind>_leftImg8bit\.png)"
)


class IdIndex:
    """Finds ids of images, also where a number has become a text."""

    def __init__(self, ids: Iterable[int | str]):
        """Indexes ids.

        Args:
            ids: The ids; of a mapping, its keys, which must not change.
        """
        self._ids = ids if isinstance(ids, Mapping) else set(ids)

    @functools.cached_property
    def _by_number(self) -> dict[int, list[int | str]]:
        """The ids of each number; made when the first id is not found."""
        by_number: dict[int, list[int | str]] = {}
        for image_id in self._ids:
            number = _to_number(image_id)
            if number is not None:
                by_number.setdefault(number, []).append(image_id)
        return by_number

    def find(self, image_id: int | str) -> int | str | None:
        """Returns the id that is equal, or the only one of equal number."""
        if image_id in self._ids:
            return image_id
        number = _to_number(image_id)
        found = [] if number is None else self._by_number.get(number, [])
        return found[0] if len(found) == 1 else None


def _to_number(image_id: int | str) -> int | None:
    try:
        return json_values.read_integer(image_id)
    except ValueError:
        return None


class NameIndex:
    """Finds the ids of image files among the file names of a data set."""

    def __init__(self, ids: Mapping[str, int | str]):
        """Indexes file names.

        Args:
            ids: Id of each image by its path below the folder of the images.
        """
        self._ids = ids
        self._by_base: dict[str, list[str]] = {}
        for name in ids:
            base = pathlib.PurePosixPath(name).name
            self._by_base.setdefault(base, []).append(name)

    def find(
        self, path: str | os.PathLike[str], relative_path: str
    ) -> int | str | None:
        """Returns the id of an image file; None when the data set lacks it.

        Where several images have its name, the folders above it decide.

        Args:
            path: Path of the file.
            relative_path: Its path below the folder that was searched.

        Raises:
            DataError: It may be one or another image.
        """
        full = pathlib.PurePath(os.path.abspath(path))
        names = self._by_base.get(full.name, [])
        if len({self._ids[name] for name in names}) <= 1:
            return self._ids[names[0]] if names else None
        depths = {name: _count_equal_parts(name, full) for name in names}
        depth = max(depths.values())
        chosen = {self._ids[name] for name in names if depths[name] == depth}
        if relative_path in names:
            chosen.add(self._ids[relative_path])
        if depth == 1 or len(chosen) > 1:
            chosen = {
                self._ids[name]
                for name in names
                if _is_confirmed(name, full, names)
            }
        if len(chosen) != 1:
            raise errors.DataError(
                f"The image {path} may be any of {len(names)} images of that "
                f"name: {json_values.summarize(sorted(names))}. Give the "
                "folder from which these paths start."
            )
        return chosen.pop()


def _is_confirmed(
    name: str, path: pathlib.PurePath, names: Iterable[str]
) -> bool:
    """Returns whether a path ends in a name and others are beside it."""
    parts = pathlib.PurePosixPath(name).parts
    if path.parts[-len(parts) :] != parts:
        return False
    root = path.parents[len(parts) - 1]
    return any(os.path.exists(root / other) for other in names if other != name)


def _count_equal_parts(name: str, path: pathlib.PurePath) -> int:
    """Counts the parts at the ends of two paths that are equal."""
    count = 0
    for left, right in zip(
        reversed(pathlib.PurePosixPath(name).parts),
        reversed(path.parts),
        strict=False,
    ):
        if left != right:
            break
        count += 1
    return count


def name_photo(file_name: str) -> str:
    """Returns the path of an image that a JSON file names.

    That is the name itself, but for the JSON files of Cityscapes' own script:
    `CITY_x_y_gtFine_leftImg8bit.png` there is the image
    `CITY/CITY_x_y_leftImg8bit.png`.

    Args:
        file_name: `file_name` of the entry in `images`.
    """
    match = _CITYSCAPES.fullmatch(pathlib.PurePosixPath(file_name).name)
    if match is None:
        return file_name
    return f"{match['city']}/{match['city']}{match['frame']}{match['kind']}"


def find_photo(folder: str | os.PathLike[str], file_name: str) -> str:
    """Returns the path below a folder of an image that a JSON file names.

    Args:
        folder: Folder of the images.
        file_name: `file_name` of the entry in `images`.

    Returns:
        `file_name` where there is such a file, otherwise `name_photo`, with or
        without the folder of the city.
    """
    photo = name_photo(file_name)
    if photo == file_name or os.path.isfile(os.path.join(folder, file_name)):
        return file_name
    flat = pathlib.PurePosixPath(photo).name
    return flat if os.path.isfile(os.path.join(folder, flat)) else photo
