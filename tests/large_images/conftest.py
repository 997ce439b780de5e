# SPDX-License-Identifier: Apache-2.0
import importlib.util
import pathlib
import sys

import pytest
import rich.console

from deeplab2_like.console import progress


@pytest.fixture(scope="session")
def synthetic():
    """Returns the module `synthetic`."""
    return _load("synthetic")


@pytest.fixture(scope="session")
def drawn_results():
    """Returns the module `drawn_results`."""
    return _load("drawn_results")


def _load(stem):
    name = f"large_images_{stem}"
    path = pathlib.Path(__file__).with_name(f"{stem}.py")
    spec = importlib.util.spec_from_file_location(name, path)
    sys.modules[name] = module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def quiet():
    """A progress display that shows nothing."""
    return progress.Progress(rich.console.Console(quiet=True))
