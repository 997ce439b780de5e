# SPDX-License-Identifier: Apache-2.0
"""Hides routine log lines of TensorFlow's C++ code."""

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator

# Written by code that TF_CPP_MIN_LOG_LEVEL does not reach.
_ROUTINE = re.compile(
    rb"All log messages before absl::InitializeLog|Compiled cluster using XLA"
    rb"|failed call to cuInit|oneDNN supports DT_"
    rb"|XLA service .* initialized|StreamExecutor device"
    rb"|Unable to register cu(FFT|DNN|BLAS) factory"
    rb"|computation placer already registered"
    rb"|Started server with target"
)


def load_tensorflow() -> None:
    """Imports TensorFlow and looks for devices, without routine lines.

    Programs call it after the checks that do without TensorFlow. The first look
    for devices logs an error on machines without a GPU, which is none.

    TensorFlow's loop optimizer is switched off: it logs a warning for branches
    within branches, such as those of augmentation, and makes nothing faster
    here.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with hide_routine():
        import tensorflow as tf

        tf.config.list_physical_devices()
        tf.config.optimizer.set_experimental_options(
            {"loop_optimization": False}
        )


@contextlib.contextmanager
def hide_routine() -> Iterator[None]:
    """Hides routine lines that a block writes to standard error.

    All other lines appear when the block ends. Use it before a progress line is
    shown.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # Not a file of the system.
        yield
        return
    sys.stderr.flush()
    saved = os.dup(descriptor)
    with tempfile.TemporaryFile() as written:
        os.dup2(written.fileno(), descriptor)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(saved, descriptor)
            os.close(saved)
            written.seek(0)
            for line in written:
                if not _ROUTINE.search(line):
                    os.write(descriptor, line)
