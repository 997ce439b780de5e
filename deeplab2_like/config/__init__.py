# SPDX-License-Identifier: Apache-2.0
"""Reads, completes and checks configs; needs protobuf, not TensorFlow.

Programs call `load`; the command is `deeplab2-check-config FILE...`.
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
from deeplab2_like.config.validation import list_dataset_warnings

__all__ = [
    "Config",
    "InvalidConfigError",
    "Problem",
    "check_dataset",
    "list_configs",
    "list_dataset_warnings",
    "list_datasets",
    "load",
    "load_dataset",
    "names",
    "parse",
    "sizes",
    "validate",
]
