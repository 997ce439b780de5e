# SPDX-License-Identifier: Apache-2.0
r"""Program: PQ of COCO-panoptic predictions against a ground truth.

    python -m deeplab2_like.metrics.coco_main \
        --gt_json=panoptic_val.json --gt_folder=panoptic/val \
        --pred_json=out/pred.json

prints a table by class and, with --output_json, writes the numbers. They are
those of panopticapi.
"""

import dataclasses
import json
import math
import pathlib
import sys
from collections.abc import Sequence
from typing import Any

from absl import flags

from deeplab2_like import errors
from deeplab2_like.console import program
from deeplab2_like.metrics import coco_panoptic

_GT_JSON = flags.DEFINE_string(
    "gt_json", None, "COCO-panoptic JSON file of the ground truth."
)
_GT_FOLDER = flags.DEFINE_string(
    "gt_folder",
    None,
    "Folder of its PNGs. Default: the path of --gt_json without .json.",
)
_PRED_JSON = flags.DEFINE_string(
    "pred_json", None, "COCO-panoptic JSON file of the predictions."
)
_PRED_FOLDER = flags.DEFINE_string(
    "pred_folder",
    None,
    "Folder of its PNGs. Default: the path of --pred_json without .json.",
)
_OUTPUT_JSON = flags.DEFINE_string(
    "output_json", None, "Where to write the numbers as JSON; nowhere if unset."
)


def main(arguments: Sequence[str]) -> None:
    """Computes and prints the qualities.

    Raises:
        ConfigError: A flag is missing.
        DataError: The files cannot be compared.
    """
    if arguments or not _GT_JSON.value or not _PRED_JSON.value:
        raise errors.ConfigError(
            "--gt_json and --pred_json are needed, and no other arguments. "
            "See --help."
        )
    result = coco_panoptic.compute_panoptic_quality(
        _GT_JSON.value,
        _PRED_JSON.value,
        true_folder=_GT_FOLDER.value,
        predicted_folder=_PRED_FOLDER.value,
    )
    print(f"{result.num_images} images; values in percent\n")
    print(result.table())
    for warning in result.warnings:
        print(f"Warning: {warning}", file=sys.stderr)
    if _OUTPUT_JSON.value:
        content = _without_nan(dataclasses.asdict(result))
        path = pathlib.Path(_OUTPUT_JSON.value)
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
        print(f"\nwritten: {path}")


def _without_nan(value: Any) -> Any:
    """Replaces NaN, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    if isinstance(value, float) and math.isnan(value):
        return None
    return value


if __name__ == "__main__":
    program.run(main)
