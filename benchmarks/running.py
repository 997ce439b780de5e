# SPDX-License-Identifier: Apache-2.0
"""The common part of the benchmark programs: flags, processes, output.

A program lists its cases. Each is measured in a process of its own, so that
earlier cases affect neither its memory nor its time.

TensorFlow with oneDNN keeps memory that was freed. The memory of cases without
operations of oneDNN is therefore measured in one more process, without oneDNN.
"""

import dataclasses
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from absl import flags

from benchmarks import measuring, reporting
from deeplab2_like import errors
from deeplab2_like.console import path_flags, program

# TensorFlow reads them when it is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

_INPUTS = path_flags.define(
    "inputs",
    None,
    "Folder of .npz files to measure on; drawn inputs when not given.",
)
_OUT = path_flags.define(
    "out", None, "File to which the measurements are appended, as JSON lines."
)
_QUICK = flags.DEFINE_bool("quick", False, "Few runs: for a first look.")
_CASE = flags.DEFINE_string(
    "case", None, "Measure only this case, and do so in this process."
)

_MEMORY = flags.DEFINE_bool(
    "memory", False, "With --case: measure its memory only, without oneDNN."
)
_WITHOUT_ONEDNN = {"TF_ENABLE_ONEDNN_OPTS": "0"}


@dataclasses.dataclass(frozen=True)
class Case:
    """A case that a program measures.

    Attributes:
        measure: Function that returns the measurements.
        has_memory_apart: Whether the memory is measured in one more process;
            `measure` then uses `memory_of_case`.
    """

    measure: Callable[[], Iterable[measuring.Measurement]]
    has_memory_apart: bool = False


def inputs_folder() -> pathlib.Path | None:
    """Returns the folder of --inputs; None: draw the inputs."""
    if _INPUTS.value is None:
        return None
    folder = pathlib.Path(_INPUTS.value)
    if not folder.is_dir():
        raise errors.DataError(
            f"--inputs={folder} is no folder. Leave it out to measure on "
            "drawn inputs."
        )
    return folder


def is_quick() -> bool:
    """Returns whether --quick is given."""
    return _QUICK.value


def effort() -> measuring.Effort:
    """Returns how long to measure: fewer runs with --quick or --memory."""
    if _MEMORY.value:
        return measuring.ONCE
    return measuring.QUICK if _QUICK.value else measuring.Effort()


def memory_of_case() -> measuring.Memory:
    """Returns the run of this process in which the memory is measured."""
    return measuring.Memory.WARM if _MEMORY.value else measuring.Memory.NOT


def measure_segments(
    name: str,
    process: Callable[[], Mapping[str, Any]],
    size: tuple[int, int],
) -> measuring.Measurement:
    """Measures post-processing, and counts the segments that it finds.

    Args:
        name: Name of the measurement.
        process: Function that returns the fields of a prediction as tensors.
        size: Height and width of the image.
    """
    height, width = size
    segments = int(process()["segment_is_valid"].numpy().sum())
    return measuring.measure(
        name,
        process,
        sizes={"height": height, "width": width, "segments": segments},
        effort=effort(),
        memory=memory_of_case(),
    )


def run(
    cases: Mapping[str, Case], own_flags: Sequence[flags.FlagHolder] = ()
) -> None:
    """Runs a program that measures `cases`, and exits.

    Args:
        cases: The cases by name.
        own_flags: Flags of the program itself, which its processes get too.
    """

    def main(arguments: Sequence[str]) -> None:
        if arguments:
            raise errors.ConfigError(
                f"Unexpected argument {arguments[0]!r}: see --help."
            )
        inputs_folder()
        if _CASE.value is None:
            found = _run_apart(cases, own_flags)
        elif _CASE.value in cases:
            found = iter([list(cases[_CASE.value].measure())])
        else:
            raise errors.ConfigError(
                f"--case={_CASE.value} does not exist. Choose one of "
                f"{', '.join(cases)}."
            )
        context = reporting.describe_machine()
        measurements: list[measuring.Measurement] = []
        for part in found:
            for measurement in part:
                # A program that is stopped has said what it measured.
                line = reporting.to_line(measurement, context)
                print(line, flush=True)
            if _OUT.value:
                reporting.append_lines(_OUT.value, part, context)
            measurements += part
        print(reporting.make_table(measurements), flush=True)

    main.__module__ = "__main__"
    for flag in (_INPUTS, _OUT, _QUICK, _CASE, _MEMORY, *own_flags):
        flags.FLAGS.register_key_flag_for_module(
            sys.argv[0], flags.FLAGS[flag.name]
        )
    program.run(main)


def _run_apart(
    cases: Mapping[str, Case], own_flags: Sequence[flags.FlagHolder]
) -> Iterator[list[measuring.Measurement]]:
    """Measures each case in a process of its own."""
    options = [
        f"--{flag.name}={flag.value}"
        for flag in own_flags
        if flag.value is not None
    ]
    for name, case in cases.items():
        yield measure_case(
            sys.argv[0],
            name,
            inputs=_INPUTS.value,
            quick=_QUICK.value,
            has_memory_apart=case.has_memory_apart,
            options=options,
        )


def measure_case(
    path: str,
    case: str,
    *,
    inputs: str | None = None,
    quick: bool = False,
    has_memory_apart: bool = False,
    options: Sequence[str] = (),
) -> list[measuring.Measurement]:
    """Measures a case of a program in a process of its own, or in two.

    Args:
        path: Path of the program.
        case: Name of the case.
        inputs: Value of --inputs.
        quick: Value of --quick.
        has_memory_apart: See `Case`.
        options: Further arguments of the program.

    Raises:
        UserError: The program failed; its messages are on standard error.
    """
    options = [f"--case={case}", *options]
    if inputs:
        options.append(f"--inputs={inputs}")
    if quick:
        options.append("--quick")
    measurements = _run_process(path, options, {})
    if has_memory_apart:
        found = _run_process(path, [*options, "--memory"], _WITHOUT_ONEDNN)
        peaks = {name: m.peak_mb for name, m in found.items()}
        measurements = {
            name: dataclasses.replace(m, peak_mb=peaks.get(name, m.peak_mb))
            for name, m in measurements.items()
        }
    return list(measurements.values())


def _run_process(
    path: str, options: Sequence[str], environment: Mapping[str, str]
) -> dict[str, measuring.Measurement]:
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "lines.jsonl")
        command = [sys.executable, path, *options, f"--out={out}"]
        done = subprocess.run(
            command,
            # The parent prints one table of all cases instead.
            stdout=subprocess.DEVNULL,
            env={**os.environ, **environment},
            check=False,
        )
        if done.returncode:
            raise errors.UserError(
                f"{' '.join(command)} failed with code {done.returncode}."
            )
        return reporting.load_lines(out)
