# SPDX-License-Identifier: Apache-2.0
"""Draws the embedded `scenes` data and writes its records.

    python data/make_scenes.py --out=scenes

Runs from a checkout without installation.
"""

import pathlib
import sys

# The checkout's own code, not this folder nor an older installed package.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like.scenes import make_main  # noqa: E402

if __name__ == "__main__":
    make_main.cli()
