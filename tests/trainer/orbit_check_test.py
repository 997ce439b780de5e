# SPDX-License-Identifier: Apache-2.0
import subprocess
import sys

import pytest

_PROGRAM = """
from deeplab2_like.trainer import orbit_check
try:
    orbit_check.require_orbit()
except ValueError as error:
    print(type(error).__name__, error)
"""


def _run(path):
    code = f"import sys; sys.path.insert(0, {str(path)!r}){_PROGRAM}"
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout


def test_a_missing_orbit_says_what_to_install():
    code = (
        "import importlib.util as u; find = u.find_spec\n"
        "u.find_spec = lambda name, *a: None if name == 'orbit' else "
        f"find(name, *a)\n{_PROGRAM}"
    )
    out = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert out.startswith("InstallError")
    assert 'pip install "deeplab2-like[train]"' in out


@pytest.mark.parametrize("file", ["orbit.py", "orbit/__init__.py"])
def test_the_satellite_tracker_of_that_name_is_recognised(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text("")
    out = _run(tmp_path)
    assert out.startswith("InstallError")
    assert "pip uninstall orbit" in out
