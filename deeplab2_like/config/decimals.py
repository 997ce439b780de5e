# SPDX-License-Identifier: Apache-2.0
"""Float fields of configs as they were written."""


def read_decimal(value: float) -> float:
    """Returns the short decimal that was written in a float32 field.

    Args:
        value: Value of the field, such as 0.10000000149011612 for 0.1.

    Returns:
        The float of the first 7 significant digits.
    """
    return float(f"{value:.7g}")
