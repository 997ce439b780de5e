# SPDX-License-Identifier: Apache-2.0
"""Measures the quick set: what docs/performance.md lists, in seven minutes.

    python benchmarks/quick.py --out=results.jsonl

The limits of the machine are measured too, because the figures of two machines
cannot be compared without them. Each case is measured in a process of its own,
with few runs. For figures to quote, run each program without --quick, on a
machine that does nothing else.
"""

import pathlib
import sys
import time
from collections.abc import Sequence

from absl import flags

sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from benchmarks import measuring, reporting, running  # noqa: E402
from deeplab2_like import errors  # noqa: E402
from deeplab2_like.console import program  # noqa: E402

_OUT = flags.FLAGS["out"]
_INPUTS = flags.FLAGS["inputs"]

_FOLDER = pathlib.Path(__file__).resolve().parent
# Program, case, and whether its memory is measured apart.
CASES = (
    ("machine_limits", "copy", False),
    ("machine_limits", "float32", False),
    ("machine_limits", "bfloat16", False),
    ("postprocessing", "probabilities", True),
    ("postprocessing", "heads", True),
    ("mask_merging", "objects", False),
    ("mask_merging", "full_size_objects", False),
    ("panoptic_fusion", "objects", False),
    ("solov2_decoding", "all_candidates", False),
    ("targets", "targets", True),
    ("targets", "tf_data_2", False),
    ("metrics", "panoptic_quality", False),
    ("metrics", "average_precision", False),
    ("forward", "resnet50", False),
    ("forward", "mobilenet_v3_large", False),
    ("forward", "mobilenet_v3_small", False),
    ("training_step", "gradients", False),
    ("training_step", "adam", False),
    ("image_to_png", "float32", False),
    ("image_to_png", "bfloat16", False),
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
    start = time.monotonic()
    context = reporting.describe_machine()
    measurements: list[measuring.Measurement] = []
    for index, (name, case, has_memory_apart) in enumerate(CASES, 1):
        print(f"[{index}/{len(CASES)}] {name}, {case}", flush=True)
        found = running.measure_case(
            str(_FOLDER / f"{name}.py"),
            case,
            inputs=_INPUTS.value,
            quick=True,
            has_memory_apart=has_memory_apart,
        )
        reporting.append_lines(out, found, context)
        measurements += found
    machine = context["machine"]
    print(
        f"{machine['processor']}, {machine['cores']} cores. These figures are "
        "of this machine and this run:"
    )
    print(reporting.make_table(measurements))
    minutes = (time.monotonic() - start) / 60
    print(f"{len(measurements)} measurements in {minutes:.1f} minutes: {out}")


if __name__ == "__main__":
    program.run(_main)
