# SPDX-License-Identifier: Apache-2.0
"""Standard streams of programs that are started without some of them."""

import os
import sys


def open_missing() -> None:
    """Opens standard streams that are closed, as nothing to read or write.

    As after `>&-`, or below a daemon. Otherwise the next file that is opened
    has the number of the stream, and native code writes its messages into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            mode = "w" if number else "r"
            stream = open(os.devnull, mode, encoding="utf-8")  # noqa: SIM115
            setattr(sys, name, stream)
        try:
            os.fstat(number)
        except OSError:
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
        os.set_inheritable(number, True)
