# SPDX-License-Identifier: Apache-2.0
"""The versions of this package and of those whose numbers depend on them."""

import platform
import sys

VERSION = "0.1.0"

# Title and distributions of each, the first one that is installed counts.
_PACKAGES = {
    "TensorFlow": ("tensorflow", "tensorflow-cpu", "tf-nightly"),
    "Keras": ("keras", "keras-nightly"),
}


def describe() -> str:
    """Returns the versions in use in a line, without importing anything."""
    parts = [f"deeplab2-like {VERSION}"]
    for title, names in _PACKAGES.items():
        found = [version for version in map(_find, names) if version]
        parts.append(f"{title} {found[0] if found else 'not installed'}")
    return ", ".join([*parts, f"Python {platform.python_version()}"])


def list_versions() -> dict[str, str]:
    """Returns the versions of this package, TensorFlow, Keras and Python.

    TensorFlow and Keras are listed when they are imported.
    """
    modules = {name: sys.modules.get(name) for name in ("tensorflow", "keras")}
    return {
        "deeplab2_like": VERSION,
        **{name: m.__version__ for name, m in modules.items() if m is not None},
        "python": platform.python_version(),
    }


def _find(name: str) -> str:
    """Returns the version of a distribution; "" if it is not installed."""
    import importlib.metadata  # Each import of the package imports this module.

    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return ""
