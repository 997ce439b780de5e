# SPDX-License-Identifier: Apache-2.0
"""Reads manifest.json beside records of published data sets."""

import json
import pathlib
from typing import Any

FILE = "manifest.json"
FORMAT = 1


def load(folder: pathlib.Path) -> dict[str, Any]:
    """Returns what a manifest says.

    Args:
        folder: Folder of the records.

    Returns:
        Its content, with the entry `splits`; {} where there is none or no
        such.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="utf-8"))
        if content["format"] == FORMAT and isinstance(content["splits"], dict):
            return dict(content)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        pass
    return {}
