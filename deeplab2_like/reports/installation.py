# SPDX-License-Identifier: Apache-2.0
"""Checks that pages can be written."""

import importlib.util

from deeplab2_like import errors


def check() -> None:
    """Checks that the package that pages are written with is there.

    Raises:
        errors.InstallError: Jinja2 is not installed.
    """
    if importlib.util.find_spec("jinja2") is None:
        raise errors.InstallError(
            "--report needs Jinja2, which is not installed. Install it with: "
            "pip install 'deeplab2_like[train]'"
        )
