# SPDX-License-Identifier: Apache-2.0
"""The command deeplab2-check-data: counts images and labels, finds problems.

    python data/check_data.py --help

Runs from a checkout without installation.
"""

import pathlib
import sys

# The checkout's own code, not this folder nor an older installed package.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like.recipes import check_main  # noqa: E402

if __name__ == "__main__":
    check_main.cli()
