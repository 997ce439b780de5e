# SPDX-License-Identifier: Apache-2.0
"""Writes a draft of the descriptor of a data set.

    python data/describe_data.py --help

Runs from a checkout without installation.
"""

import pathlib
import sys

# The checkout's own code, not this folder nor an older installed package.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like.data.coco import describe_main  # noqa: E402

if __name__ == "__main__":
    describe_main.cli()
