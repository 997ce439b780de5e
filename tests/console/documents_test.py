# SPDX-License-Identifier: Apache-2.0
"""What the pages of the commands show works as it is written."""

import pathlib
import re
import subprocess
import sys

_ROOT = pathlib.Path(__file__).resolve().parents[2]
_MODULES = {
    "deeplab2-score": "deeplab2_like.metrics.coco_main",
    "deeplab2-draw": "deeplab2_like.visualize.coco_main",
}


def _run_first_block(page, folder):
    """Runs the first block of commands of a page; returns the output."""
    text = (_ROOT / "docs" / page).read_text(encoding="utf-8")
    block = re.search(r"```\n(.*?)```", text, re.DOTALL)[1]
    output = ""
    for line in block.replace("\\\n", " ").strip().splitlines():
        program, *arguments = line.split()
        if program == "python":
            command = [str(_ROOT / arguments[0]), *arguments[1:]]
        else:
            command = ["-m", _MODULES[program], *arguments]
        done = subprocess.run(
            [sys.executable, *command],
            cwd=folder,
            env={"PYTHONPATH": str(_ROOT), "PATH": "/usr/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        output += done.stdout
    return output


def test_drawn_scenes_are_scored_against_themselves(tmp_path):
    output = _run_first_block("scoring.md", tmp_path)
    assert "10 images; values in percent" in output
    assert re.search(r"all \(9 classes\) +100.00 100.00 100.00", output)


def test_drawn_scenes_become_pictures(tmp_path):
    output = _run_first_block("drawing.md", tmp_path)
    assert "3 pictures are in pictures" in output
    assert len(list((tmp_path / "pictures").glob("*.png"))) == 3
