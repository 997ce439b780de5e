# SPDX-License-Identifier: Apache-2.0
"""Lists the lowest or the highest versions that setup.cfg allows, for pip.

    python tests/bounds.py lowest    # constraints: each package at its lowest
    python tests/bounds.py highest   # requirements: for pip install --upgrade

Used by `make test-bounds`. tf-models-official, of which Orbit is a part, asks
for one version of TensorFlow, so it is not among the highest; the Makefile
installs it without what it asks for.
"""

import configparser
import pathlib
import re
import sys

_SETUP = pathlib.Path(__file__).resolve().parents[1] / "setup.cfg"
_HAS_ORBIT = "tf-models-official"


def read_requirements() -> list[str]:
    """Returns what running and training need, as lines of setup.cfg."""
    parser = configparser.ConfigParser()
    parser.read(_SETUP)
    texts = (
        parser["options"]["install_requires"],
        parser["options.extras_require"]["train"],
    )
    return [line for text in texts for line in text.split("\n") if line]


def list_lowest() -> list[str]:
    """Returns a constraint `name==version` for each requirement."""
    constraints = []
    for line in read_requirements():
        match = re.fullmatch(r"([\w-]+)(?:>=|~=)([\d.]+)(?:,<[\d.]+)?", line)
        if match is None:
            raise ValueError(f"setup.cfg: {line} has no lower bound.")
        constraints.append(f"{match[1]}=={match[2]}")
    return constraints


def list_highest() -> list[str]:
    """Returns the requirements without the one that keeps TensorFlow back."""
    return [r for r in read_requirements() if not r.startswith(_HAS_ORBIT)]


if __name__ == "__main__":
    lists = {"lowest": list_lowest, "highest": list_highest}
    if len(sys.argv) != 2 or sys.argv[1] not in lists:
        sys.exit("Error: give `lowest` or `highest`.")
    print("\n".join(lists[sys.argv[1]]()))
