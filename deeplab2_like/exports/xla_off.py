# SPDX-License-Identifier: Apache-2.0
"""Runs a SavedModel as TensorFlow Serving does unless told otherwise: no XLA.

A server switches compilation by XLA off before it loads a model. The switch is
one of the whole process, so the model runs in another one, on the processor.
This file is also the program of that process, and imports nothing else of this
package then.
"""

import ctypes
import glob
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

# Flags of tensorflow_model_server that switch XLA on.
SERVER_FLAG = "--xla_cpu_compilation_enabled=true"
SERVER_FLAG_GPU = "--xla_gpu_compilation_enabled=true"

# `tensorflow::DisableXlaCompilation()` of compiler/jit/flags.h. It has no name
# in Python; TensorFlow Serving calls it.
_SWITCH = "_ZN10tensorflow21DisableXlaCompilationEv"
_NO_SWITCH = 3


class WithoutXlaError(Exception):
    """The SavedModel does not run without XLA; the text is TensorFlow's."""


def predict(
    directory: str, image_hw3: npt.NDArray[np.uint8]
) -> dict[str, npt.NDArray[Any]] | None:
    """Runs the default signature of a SavedModel with XLA switched off.

    Args:
        directory: Folder of the SavedModel.
        image_hw3: uint8 [H, W, 3].

    Returns:
        The outputs by name, for a batch of one image; None where this
        TensorFlow does not have the switch.

    Raises:
        WithoutXlaError: The model does not run.
    """
    with tempfile.TemporaryDirectory() as folder:
        image, result = os.path.join(folder, "i.npy"), os.path.join(folder, "r")
        np.save(image, image_hw3[np.newaxis])
        done = subprocess.run(
            # -P: the modules beside this file are not to be found by their
            # last names.
            [sys.executable, "-P", __file__, directory, image, result],
            env={
                **os.environ,
                # The memory of the GPU belongs to the process that exports.
                "CUDA_VISIBLE_DEVICES": "-1",
                "TF_CPP_MIN_LOG_LEVEL": "3",
            },
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode == _NO_SWITCH:
            return None
        if done.returncode:
            lines = done.stderr.strip().splitlines() or ["no message"]
            raise WithoutXlaError(lines[-1])
        with np.load(f"{result}.npz") as outputs:
            return dict(outputs)


def _find_switch() -> Callable[[], None] | None:
    """Returns the function that switches XLA off in this process."""
    import tensorflow as tf

    folder = os.path.dirname(tf.__file__)
    for path in sorted(glob.glob(os.path.join(folder, "libtensorflow_cc*"))):
        try:
            switch = getattr(ctypes.CDLL(path), _SWITCH, None)
        except OSError:
            continue
        if switch is not None:
            switch.restype = None
            return switch
    return None


def _main(directory: str, image: str, result: str) -> None:
    import tensorflow as tf

    switch = _find_switch()
    if switch is None:
        sys.exit(_NO_SWITCH)
    switch()
    serve = tf.saved_model.load(directory).signatures["serving_default"]
    try:
        outputs = serve(images=tf.constant(np.load(image)))
    except tf.errors.OpError as error:
        sys.exit(" ".join(error.message.split()))
    np.savez(result, **{name: value.numpy() for name, value in outputs.items()})


if __name__ == "__main__":
    _main(*sys.argv[1:])
