# SPDX-License-Identifier: Apache-2.0
"""Checks that TensorFlow's Orbit is installed, before it is imported."""

import importlib.util
import pathlib

from deeplab2_like import errors

_HOW_TO_INSTALL = (
    'Install it with: pip install "deeplab2-like[train]" (Orbit is a part of '
    "tf-models-official)."
)


def require_orbit() -> None:
    """Checks that `import orbit` imports TensorFlow's training library.

    Another package on PyPI has the same import name.

    Raises:
        InstallError: Orbit is not installed, or it is the other package.
    """
    found = importlib.util.find_spec("orbit")
    if found is None:
        raise errors.InstallError(
            f"Training needs Orbit, which is not installed. {_HOW_TO_INSTALL}"
        )
    # A look for orbit.controller by `find_spec` would import orbit.
    folders = map(pathlib.Path, found.submodule_search_locations or ())
    is_real = any((folder / "controller.py").is_file() for folder in folders)
    if not is_real:
        raise errors.InstallError(
            "The installed package `orbit` is not TensorFlow's Orbit (the "
            "package of that name on PyPI tracks satellites). Run: pip "
            f"uninstall orbit. {_HOW_TO_INSTALL}"
        )
