# SPDX-License-Identifier: Apache-2.0
"""Keeps routine lines of TensorFlow's C++ code off a program's screen."""

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
)


@contextlib.contextmanager
def hide_routine() -> Iterator[None]:
    """Leaves out the routine lines written to standard error meanwhile.

    All other lines appear when the block ends. For the start of a program,
    before a progress line is shown.
    """
    try:
        descriptor = sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):  # Replaced by an object.
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
