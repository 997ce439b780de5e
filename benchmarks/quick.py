# SPDX-License-Identifier: Apache-2.0
"""Measures the quick set: each aim of docs/performance.md, in five minutes.

    python benchmarks/quick.py --out=results.jsonl

Each case runs in a process of its own, with few runs. For figures to quote run
the programs one by one without --quick, on a machine that does nothing else.
"""

import pathlib
import sys
import time
from collections.abc import Sequence

from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import reporting, running  # noqa: E402
from deeplab2_like import errors, program  # noqa: E402

_OUT = flags.FLAGS["out"]
_INPUTS = flags.FLAGS["inputs"]

_FOLDER = pathlib.Path(__file__).resolve().parent
# Program and case.
CASES = (
    ("postprocessing", "probabilities"),
    ("postprocessing", "heads"),
    ("targets", "targets"),
    ("targets", "tf_data_1"),
    ("targets", "tf_data_2"),
    ("metrics", "panoptic_quality"),
    ("metrics", "average_precision"),
    ("forward", "resnet50_1025"),
    ("forward", "mobilenet_v3_large_1025"),
    ("forward", "mobilenet_v3_small_1025"),
    ("forward", "resnet50_513"),
    ("forward", "mobilenet_v3_large_513"),
    ("training_step", "gradients"),
    ("training_step", "adam"),
    ("image_to_png", "whole"),
)


def _main(arguments: Sequence[str]) -> None:
    if arguments:
        raise errors.ConfigError(
            f"Unexpected argument {arguments[0]!r}: see --help."
        )
    running.inputs_folder()
    if not _OUT.value:
        raise errors.ConfigError(
            "--out is missing. Give the file of JSON lines to write."
        )
    out = pathlib.Path(_OUT.value)
    if out.exists():
        raise errors.ConfigError(
            f"--out={out} exists. Give a new file, or remove it."
        )
    options = ["--quick", f"--out={out}"]
    if _INPUTS.value:
        options.append(f"--inputs={_INPUTS.value}")
    start = time.monotonic()
    for index, (name, case) in enumerate(CASES, 1):
        print(f"[{index}/{len(CASES)}] {name}, {case}", flush=True)
        running.measure_case(str(_FOLDER / f"{name}.py"), case, options)
    measurements = list(reporting.load_lines(out).values())
    print(reporting.make_table(measurements, reporting.load_reference()))
    minutes = (time.monotonic() - start) / 60
    print(f"{len(measurements)} measurements in {minutes:.1f} minutes: {out}")


if __name__ == "__main__":
    program.run(_main)
