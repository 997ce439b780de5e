# SPDX-License-Identifier: Apache-2.0
"""What the benchmark programs share: flags, fresh processes, output.

A program names its cases; each case is measured in a process of its own, so
that its memory is its own and no earlier case has warmed anything up.
"""

import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import flags

from benchmarks import measuring, reporting
from deeplab2_like import errors, program

# Before TensorFlow is imported, which reads them then.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_INPUTS = flags.DEFINE_string(
    "inputs",
    None,
    "Folder of .npz files to measure on; drawn inputs when not given.",
)
_OUT = flags.DEFINE_string(
    "out", None, "File to which the measurements are appended, as JSON lines."
)
_QUICK = flags.DEFINE_bool("quick", False, "Few runs: for a first look.")
_CASE = flags.DEFINE_string(
    "case", None, "Measure only this case, and do so in this process."
)

Case = Callable[[], Iterable[measuring.Measurement]]


def inputs_folder() -> pathlib.Path | None:
    """Gives the folder of --inputs; None: draw the inputs."""
    if _INPUTS.value is None:
        return None
    folder = pathlib.Path(_INPUTS.value)
    if not folder.is_dir():
        raise errors.DataError(
            f"--inputs={folder} is no folder. Leave it out to measure on "
            "drawn inputs."
        )
    return folder


def effort() -> measuring.Effort:
    """Gives how long to measure, as --quick says."""
    return measuring.QUICK if _QUICK.value else measuring.Effort()


def run(cases: Mapping[str, Case]) -> None:
    """Runs a program that measures `cases`, and exits."""

    def main(arguments: Sequence[str]) -> None:
        if arguments:
            raise errors.ConfigError(
                f"Unexpected argument {arguments[0]!r}: see --help."
            )
        inputs_folder()
        if _CASE.value is None:
            measurements = _run_apart(list(cases))
        elif _CASE.value in cases:
            measurements = list(cases[_CASE.value]())
        else:
            raise errors.ConfigError(
                f"--case={_CASE.value} does not exist. Choose one of "
                f"{', '.join(cases)}."
            )
        context = reporting.describe_machine()
        for measurement in measurements:
            print(reporting.to_line(measurement, context))
        if _OUT.value:
            reporting.append_lines(_OUT.value, measurements, context)
        print(
            reporting.make_table(measurements, reporting.load_reference()),
            flush=True,
        )

    main.__module__ = "__main__"
    program.run(main)


def _run_apart(cases: Sequence[str]) -> list[measuring.Measurement]:
    options = []
    if _INPUTS.value:
        options.append(f"--inputs={_INPUTS.value}")
    if _QUICK.value:
        options.append("--quick")
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "lines.jsonl")
        for case in cases:
            measure_case(sys.argv[0], case, [*options, f"--out={out}"])
        return list(reporting.load_lines(out).values())


def measure_case(path: str, case: str, options: Sequence[str]) -> None:
    """Measures a case of a program in a process of its own.

    Args:
        path: Of the program.
        case: Its name.
        options: Further flags.

    Raises:
        UserError: The program failed; what it said is on standard error.
    """
    command = [sys.executable, path, f"--case={case}", *options]
    # The tables of single cases would only interrupt the one of all.
    done = subprocess.run(command, stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise errors.UserError(
            f"{' '.join(command)} failed with code {done.returncode}."
        )
