# SPDX-License-Identifier: Apache-2.0
r"""Program that computes PQ of COCO-panoptic files against a ground truth.

    python -m deeplab2_like.metrics.coco_main \
        --gt_json=panoptic_val.json --gt_folder=panoptic/val \
        --pred_json=out/pred.json

prints a table of classes and, with --output_json, writes the numbers. They are
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

from deeplab2_like.console import program
from deeplab2_like.metrics import coco_panoptic

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_GT_JSON = flags.DEFINE_string(
    "gt_json",
    None,
    "COCO-panoptic JSON file of the ground truth.",
    flag_values=_FLAGS,
)
_GT_FOLDER = flags.DEFINE_string(
    "gt_folder",
    None,
    "Folder of its PNGs. Default: the path of --gt_json without .json.",
    flag_values=_FLAGS,
)
_PRED_JSON = flags.DEFINE_string(
    "pred_json",
    None,
    "COCO-panoptic JSON file of the predictions.",
    flag_values=_FLAGS,
)
_PRED_FOLDER = flags.DEFINE_string(
    "pred_folder",
    None,
    "Folder of its PNGs. Default: the path of --pred_json without .json.",
    flag_values=_FLAGS,
)
_OUTPUT_JSON = flags.DEFINE_string(
    "output_json",
    None,
    "Where to write the numbers as JSON; nowhere if unset.",
    flag_values=_FLAGS,
)


def _main(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    result = coco_panoptic.compute_panoptic_quality(
        program.require(_GT_JSON, "the ground truth", "panoptic_val.json"),
        program.require(_PRED_JSON, "the predictions", "out/panoptic.json"),
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


def cli() -> None:
    """Computes and prints the qualities of COCO-panoptic predictions."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
