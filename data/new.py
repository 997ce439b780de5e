# SPDX-License-Identifier: Apache-2.0
"""Prepares a training on your own data: records, descriptor, config.

    python data/new.py --data=PHOTOS --out=mine

The command deeplab2-new. Runs from a checkout without installation.
"""

import pathlib
import sys

# The checkout's own code, not this folder nor an older installed package.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like.recipes import new_main  # noqa: E402

if __name__ == "__main__":
    new_main.cli()
