# SPDX-License-Identifier: Apache-2.0
"""Reads the float fields of configs as they were written."""


def read_decimal(value: float) -> float:
    """Returns the short decimal that a float32 field stands for.

    Args:
        value: What protobuf gives; 0.10000000149011612 where a config says
            0.1.

    Returns:
        The float with the same first 7 digits, and no others.
    """
    return float(f"{value:.7g}")
