# SPDX-License-Identifier: Apache-2.0
"""Lines of TensorFlow's C++ code that users need not see."""

import subprocess
import sys

from deeplab2_like.console import native_logs

_PROGRAM = """
import os
from deeplab2_like.console import native_logs

with native_logs.hide_routine():
    os.write(2, b"I0000 Compiled cluster using XLA! in a line\\n")
    os.write(2, b"E0000 the disk is full\\n")
os.write(2, b"XLA service 1 initialized\\n")
"""


def test_routine_lines_are_hidden_and_others_are_not():
    done = subprocess.run(
        [sys.executable, "-c", _PROGRAM],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    )
    lines = done.stderr.splitlines()
    assert lines == ["E0000 the disk is full", "XLA service 1 initialized"]


def test_the_optimizer_that_warns_of_branches_is_off():
    import tensorflow as tf

    native_logs.load_tensorflow()
    options = tf.config.optimizer.get_experimental_options()
    assert options["loop_optimization"] is False
