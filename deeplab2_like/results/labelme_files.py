# SPDX-License-Identifier: Apache-2.0
"""Segments of results as JSON files of LabelMe, to be corrected there.

Each segment is a shape of the type "mask" (LabelMe 5.2 and later), which has
its pixels exactly: polygons would not.
"""

import base64
import io
import pathlib
from typing import Any

import numpy as np
from PIL import Image

from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import json_files

_VERSION = "5.2.0"


def write_labelme(
    result: PanopticResult, path: pathlib.Path, image_path: str
) -> None:
    """Writes the file of an image; crowds are left out.

    Args:
        result: The result at the size of the image.
        path: Path of the file.
        image_path: Path of the image, from the folder of the file.
    """
    shapes = [
        _make_shape(result, info)
        for info in result.segments_info
        if not info["iscrowd"]
    ]
    json_files.write_json(
        path,
        {
            "version": _VERSION,
            "flags": {},
            "shapes": shapes,
            "imagePath": image_path,
            "imageData": None,
            "imageHeight": result.height,
            "imageWidth": result.width,
        },
    )


def _make_shape(result: PanopticResult, info: dict[str, Any]) -> dict[str, Any]:
    left, top, width, height = info["bbox"]
    mask = result.mask(info["id"])[top : top + height, left : left + width]
    stream = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).save(stream, format="PNG")
    return {
        "label": info["category_name"],
        # Both corners are pixels of the mask.
        "points": [[left, top], [left + width - 1, top + height - 1]],
        "group_id": info["id"] if info["isthing"] else None,
        "description": "",
        "shape_type": "mask",
        "flags": {},
        "mask": base64.b64encode(stream.getvalue()).decode(),
    }
