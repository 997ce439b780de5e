# SPDX-License-Identifier: Apache-2.0
"""What the page of a report shows."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from deeplab2_like.reports.comparison import Comparison
from deeplab2_like.reports.evaluation import Evaluation, ImageScores


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture of an image.

    Attributes:
        title: What it shows.
        data: Content of an image file.
        media_type: Its type, such as "image/jpeg".
        width: In pixels.
        height: In pixels.
    """

    title: str
    data: bytes
    media_type: str
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The picture as a data URI."""
        text = base64.b64encode(self.data).decode("ascii")
        return f"data:{self.media_type};base64,{text}"


@dataclasses.dataclass(frozen=True)
class DrawnImage:
    """An image of a low score with its pictures."""

    scores: ImageScores
    pictures: Sequence[Picture]


@dataclasses.dataclass(frozen=True)
class Report:
    """What a page shows.

    Attributes:
        name: Name of the run.
        evaluation: The numbers.
        data: The same numbers, as `eval/metrics.json` has them.
        drawn: Images of the lowest scores, worst first.
        colors: Name and (red, green, blue) in 0..255 of each color of the
            pictures.
        compared: Another run to compare with; None for none.
    """

    name: str
    evaluation: Evaluation
    data: Mapping[str, Any]
    drawn: Sequence[DrawnImage] = ()
    colors: Sequence[tuple[str, tuple[int, int, int]]] = ()
    compared: Comparison | None = None
