# SPDX-License-Identifier: Apache-2.0
"""Settings of the whole test run."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")


def pytest_addoption(parser):
    parser.addoption(
        "--reference-complete",
        action="store_true",
        dest="reference_complete",
        help="fail when a golden case is not compared in full",
    )
