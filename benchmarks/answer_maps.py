# SPDX-License-Identifier: Apache-2.0
"""The maps in the answers of an exported model, whatever signature gave them.

A map is int32 [H, W], the numbers of the segments in the order of their table,
0 for none.
"""

import dataclasses
import io
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from deeplab2_like import errors
from deeplab2_like.exports import exported_model, signatures
from deeplab2_like.labels import coco_format, label_map

Map = npt.NDArray[np.int32]
Files = Sequence[bytes]
Way = Callable[[Files], list[Map]]


class LeftOutError(errors.UserError):
    """A way that does not exist here, and why."""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What is compared.

    Attributes:
        model: Folder of the exported model.
        run: Model folder or checkpoint that it was exported from; None to
            leave out the live model.
        info: Facts about the exported model.
        work: Folder for files.
    """

    model: pathlib.Path
    run: str | None
    info: exported_model.ExportInfo
    work: pathlib.Path


def number_maps(outputs: Mapping[str, Any], divisor: int) -> list[Map]:
    """Returns the maps of a signature with maps, numbered as by the compact."""
    arrays = {name: np.asarray(value) for name, value in outputs.items()}
    ids_bhw = arrays.get("panoptic")
    if ids_bhw is None:
        ids_bhw = arrays["semantic"] * divisor
    maps = []
    for ids_hw, table, is_valid in zip(
        ids_bhw, arrays["segment_id"], arrays["segment_is_valid"], strict=True
    ):
        ids = table[is_valid]
        numbers = np.arange(1, len(ids) + 1)
        maps.append(label_map.replace_values(ids_hw, ids, numbers))
    return maps


def decode_answers(outputs: Mapping[str, Any]) -> list[Map]:
    """Returns the maps of a compact answer; 1x1 of -1 for one with an error."""
    maps = []
    for data, error in zip(
        np.asarray(outputs["panoptic_png_bytes"]),
        np.asarray(outputs["error"]),
        strict=True,
    ):
        if error:
            maps.append(np.full((1, 1), -1, np.int32))
            continue
        with Image.open(io.BytesIO(data)) as image:
            maps.append(coco_format.decode_ids(np.asarray(image)))
    return maps


def choose_reader(
    subject: Subject, signature: str
) -> Callable[[Mapping[str, Any]], list[Map]]:
    """Returns the function from the outputs of a signature to maps.

    Raises:
        LeftOutError: The model has no such signature.
    """
    if signature not in subject.info.signatures:
        raise LeftOutError(f"the model has no signature {signature}")
    if signatures.has_independent_rows(signature):
        return decode_answers
    divisor = exported_model.load_descriptor(subject.model).label_divisor
    return lambda outputs: number_maps(outputs, divisor)
