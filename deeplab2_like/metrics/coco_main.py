# SPDX-License-Identifier: Apache-2.0
r"""Scores COCO-panoptic predictions against a ground truth.

    deeplab2-score --gt_json=panoptic_val.json --gt_folder=panoptic/val \
        --pred_json=out/panoptic.json --pred_folder=out

prints a table of classes and, with --output_json, writes the numbers. They are
those of panopticapi.
"""

import dataclasses
import pathlib
import sys
from collections.abc import Sequence

from absl import flags

from deeplab2_like.console import path_flags, program
from deeplab2_like.metrics import coco_panoptic
from deeplab2_like.storage import json_files

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_GT_JSON = path_flags.define(
    "gt_json",
    None,
    "COCO-panoptic JSON file of the ground truth. Required.",
    flag_values=_FLAGS,
)
_GT_FOLDER = path_flags.define(
    "gt_folder",
    None,
    "Folder of its PNGs. Default: the path of --gt_json without .json.",
    flag_values=_FLAGS,
)
_PRED_JSON = path_flags.define(
    "pred_json",
    None,
    "COCO-panoptic JSON file of the predictions. Required.",
    flag_values=_FLAGS,
)
_PRED_FOLDER = path_flags.define(
    "pred_folder",
    None,
    "Folder of its PNGs. Default: the path of --pred_json without .json.",
    flag_values=_FLAGS,
)
_OUTPUT_JSON = path_flags.define(
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
        path = pathlib.Path(_OUTPUT_JSON.value)
        json_files.write_json(path, dataclasses.asdict(result))
        print(f"\nwritten: {path}")


def cli() -> None:
    """Scores COCO-panoptic predictions (console command deeplab2-score)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
