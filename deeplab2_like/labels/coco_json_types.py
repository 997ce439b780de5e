# SPDX-License-Identifier: Apache-2.0
"""The entries of a COCO-panoptic JSON file, as `coco_json` returns them."""

import dataclasses
import marshal
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

from deeplab2_like.labels import json_values

# Ids of segments have three bytes in the PNG.
MAX_ID = 2**24 - 1


@dataclasses.dataclass(frozen=True, slots=True)
class Category:
    """A category.

    Attributes:
        id: Id.
        name: Name; "" when the file has none.
        is_thing: Whether it has instances; None when the file does not say.
        color: (red, green, blue), 0..255; None when there is none.
    """

    id: int
    name: str = ""
    is_thing: bool | None = None
    color: json_values.Color | None = None


@dataclasses.dataclass(frozen=True, slots=True)
class Image:
    """An image.

    Attributes:
        id: Id, a number or a text.
        file_name: Path below the folder of the images, with "/".
        height: Height in pixels; None when the file has none.
        width: Width in pixels; None when the file has none.
    """

    id: int | str
    file_name: str
    height: int | None = None
    width: int | None = None

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width); None where the file lacks one of them."""
        if self.height is None or self.width is None:
            return None
        return self.height, self.width


@dataclasses.dataclass(frozen=True, slots=True)
class Segment:
    """A segment of an image.

    Attributes:
        id: Id in the PNG, 1..`MAX_ID`, unique in the image.
        category_id: Id of the category.
        area: Pixels according to the file; None when it has none.
        is_crowd: Whether it is a group of objects.
        score: Score of a prediction; None when the file has none.
    """

    id: int
    category_id: int
    area: float | None = None
    is_crowd: bool = False
    score: float | None = None


class PackedSegments(Sequence[Segment]):
    """Segments of an image in little memory; each access makes them anew.

    A `Segment` with its numbers has 200 bytes, here it has about 25: data sets
    list millions.
    """

    __slots__ = ("_packed",)

    def __init__(self, segments: Iterable[Segment] = ()):
        """Packs segments.

        Args:
            segments: The segments, in their order.
        """
        # For this process only, so that the form of marshal does not matter.
        self._packed = marshal.dumps(
            [
                (one.id, one.category_id, one.area, one.is_crowd, one.score)
                for one in segments
            ]
        )

    def _unpack(self) -> list[Segment]:
        return [Segment(*values) for values in marshal.loads(self._packed)]

    def __iter__(self) -> Iterator[Segment]:
        return iter(self._unpack())

    def __len__(self) -> int:
        return len(marshal.loads(self._packed))

    @overload
    def __getitem__(self, key: int) -> Segment: ...

    @overload
    def __getitem__(self, key: slice) -> list[Segment]: ...

    def __getitem__(self, key: int | slice) -> Segment | list[Segment]:
        return self._unpack()[key]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Sequence):
            return self._unpack() == list(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(tuple(self._unpack()))

    def __repr__(self) -> str:
        return repr(self._unpack())


NO_SEGMENTS = PackedSegments()


@dataclasses.dataclass(frozen=True, slots=True)
class Annotation:
    """The segments of an image.

    Attributes:
        image_id: Id of the image, as in `images` where the file has them.
        file_name: Path of the PNG below its folder, with "/".
        segments: The segments, in the order of the file.
    """

    image_id: int | str
    file_name: str
    segments: Sequence[Segment] = ()
