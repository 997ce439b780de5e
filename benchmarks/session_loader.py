# SPDX-License-Identifier: Apache-2.0
"""Builds and runs session_loader.cc, which loads models as servers do.

It is compiled against the headers and the libraries of the installed
TensorFlow. What it calls is what TensorFlow Serving calls; the server itself is
not part of it.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import errors

_SOURCE = pathlib.Path(__file__).with_suffix(".cc")
_STRING = "string"
_FAILURE = re.compile(
    r"^(load|run|no signature|several inputs|cannot read|images of other)\b.*",
    re.MULTILINE,
)
# TensorFlow's names of types that NumPy calls otherwise.
_DTYPES = {"float": "float32", "double": "float64"}

Arrays = dict[str, npt.NDArray[np.generic]]


def find_problem() -> str | None:
    """Returns why the program cannot be built here; None where it can."""
    if _find_compiler() is None:
        return "there is no C++ compiler (g++)"
    folder = pathlib.Path(tf.sysconfig.get_lib())
    if not list(folder.glob("libtensorflow_cc.so*")):
        return "this TensorFlow has no libtensorflow_cc"
    return None


def _find_compiler() -> str | None:
    return os.environ.get("CXX") or shutil.which("g++")


def build(folder: pathlib.Path) -> pathlib.Path:
    """Compiles the program.

    Args:
        folder: Folder for it.

    Returns:
        Its path.

    Raises:
        UserError: It cannot be built.
    """
    problem = find_problem()
    if problem is not None:
        raise errors.UserError(f"session_loader.cc is not built: {problem}.")
    program = folder / "session_loader"
    libraries = tf.sysconfig.get_lib()
    (cc,) = sorted(pathlib.Path(libraries).glob("libtensorflow_cc.so*"))[:1]
    done = subprocess.run(
        [
            str(_find_compiler()),
            "-w",
            *tf.sysconfig.get_compile_flags(),
            str(_SOURCE),
            "-o",
            str(program),
            *tf.sysconfig.get_link_flags(),
            f"-l:{cc.name}",
            f"-Wl,-rpath,{libraries}",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise errors.UserError(
            f"session_loader.cc does not compile: {done.stderr[:2000]}"
        )
    return program


def run(
    program: pathlib.Path,
    model: str | os.PathLike[str],
    signature: str,
    requests: Sequence[Sequence[bytes]],
    *,
    xla: bool,
) -> list[Arrays]:
    """Runs a signature, in a process of its own.

    Args:
        program: What `build` returned.
        model: Folder of the SavedModel.
        signature: Name of a signature.
        requests: The files of each request; see `encode_pixels` for
            signatures that take pixels.
        xla: Whether compilation by XLA stays on. Off is the default of
            TensorFlow Serving.

    Returns:
        The outputs of each request by name; strings as arrays of `bytes`.

    Raises:
        UserError: The model cannot be loaded, or a request fails.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        arguments: list[str] = []
        for number, files in enumerate(requests):
            arguments += ["--"] if number else []
            for index, data in enumerate(files):
                file = folder / f"{number}_{index}"
                file.write_bytes(data)
                arguments.append(str(file))
        done = subprocess.run(
            [
                str(program),
                os.fspath(model),
                "on" if xla else "off",
                signature,
                name,
                *arguments,
            ],
            capture_output=True,
            text=True,
            errors="replace",
            env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ},
            check=False,
        )
        if done.returncode:
            # TensorFlow writes lines of its own before it and below it.
            found = _FAILURE.search(done.stderr)
            text = found[0] if found else done.stderr[-500:]
            raise errors.UserError(f"session_loader failed: {text}")
        dtypes = dict(line.split() for line in done.stdout.splitlines())
        return [
            {
                output: _read(folder / str(number) / f"{output}.bin", dtype)
                for output, dtype in dtypes.items()
            }
            for number in range(len(requests))
        ]


def encode_pixels(image_hw3: npt.NDArray[np.uint8]) -> bytes:
    """Encodes uint8 [H, W, 3] for a signature that takes pixels."""
    size = np.array(image_hw3.shape[:2], np.int32)
    return size.tobytes() + image_hw3.tobytes()


def _read(path: pathlib.Path, dtype: str) -> npt.NDArray[np.generic]:
    data = path.read_bytes()
    rank = int(np.frombuffer(data, np.int64, 1)[0])
    shape = np.frombuffer(data, np.int64, rank, 8)
    start = 8 * (1 + rank)
    if dtype != _STRING:
        values = np.frombuffer(data, _DTYPES.get(dtype, dtype), -1, start)
        return values.reshape(shape)
    strings = np.empty(int(np.prod(shape)), object)
    for index in range(len(strings)):
        length = int(np.frombuffer(data, np.int64, 1, start)[0])
        strings[index] = data[start + 8 : start + 8 + length]
        start += 8 + length
    return strings.reshape(shape)
