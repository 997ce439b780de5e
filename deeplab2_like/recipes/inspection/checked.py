# SPDX-License-Identifier: Apache-2.0
"""The result of a check of data."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.data.inspection.findings import Evidence
from deeplab2_like.reports.data_check import DataCheck

# Function from the key of an image to its pixels, uint8 [H, W, 3], and its
# label, integers [H, W] or None.
LoadImage = Callable[
    [int], tuple[npt.NDArray[np.uint8], npt.NDArray[Any] | None]
]


@dataclasses.dataclass(frozen=True)
class Checked:
    """A data set that was checked.

    Attributes:
        check: The numbers and findings.
        evidence: What they were derived from.
        load: Function that loads an image again, to draw it; None where only
            headers were read.
    """

    check: DataCheck
    evidence: Evidence
    load: LoadImage | None
