# SPDX-License-Identifier: Apache-2.0
"""Reads, completes and checks configs; needs protobuf, not TensorFlow.

Programs call `load`. `python -m deeplab2_like.config FILE...` checks configs on
the command line.
"""

from deeplab2_like.config import names, sizes
from deeplab2_like.config.loader import (
    Config,
    check_dataset,
    load,
    load_dataset,
    parse,
    validate,
)
from deeplab2_like.config.paths import list_configs, list_datasets
from deeplab2_like.config.problems import InvalidConfigError, Problem

__all__ = [
    "Config",
    "InvalidConfigError",
    "Problem",
    "check_dataset",
    "list_configs",
    "list_datasets",
    "load",
    "load_dataset",
    "names",
    "parse",
    "sizes",
    "validate",
]
