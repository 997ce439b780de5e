# SPDX-License-Identifier: Apache-2.0
"""Runs `check_main` as `python -m deeplab2_like.config`."""

from deeplab2_like.config import check_main

if __name__ == "__main__":
    check_main.cli()
