# SPDX-License-Identifier: Apache-2.0
"""Trains and evaluates the model that a config file describes.

    python trainer/main.py --config_file=CONFIG --model_dir=FOLDER

Runs from a checkout without installation; installed it is `deeplab2-train`.
"""

import pathlib
import sys

# The checkout's own code, not this folder nor an older installed package.
sys.path[0] = str(pathlib.Path(__file__).resolve().parents[1])

from deeplab2_like.trainer import main  # noqa: E402

if __name__ == "__main__":
    main.cli()
