# SPDX-License-Identifier: Apache-2.0
"""Packages that only some files need, imported when such a file is opened."""

import importlib
import importlib.util
from typing import Any

from deeplab2_like import errors


def is_installed(name: str) -> bool:
    """Returns whether a package can be imported; imports nothing."""
    return importlib.util.find_spec(name) is not None


def load(name: str, what: str, extra: str) -> Any:
    """Imports a package.

    Args:
        name: Its name.
        what: What needs it, a plural, for the message.
        extra: The extra of this package that installs it.

    Raises:
        InstallError: It is not installed.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise errors.InstallError(
            f"{what} need the package {name}. Install it with: pip install "
            f"'deeplab2-like[{extra}]'"
        ) from error
