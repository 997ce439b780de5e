# SPDX-License-Identifier: Apache-2.0
"""Reads labels in the form that you have, and writes descriptor and records.

    python data/prepare.py PHOTOS --out=mine --write

The command deeplab2-prepare. Runs from a checkout without installation.
"""

import pathlib
import sys

# The checkout's own code, not this folder nor an older installed package.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like.recipes import prepare_main  # noqa: E402

if __name__ == "__main__":
    prepare_main.cli()
