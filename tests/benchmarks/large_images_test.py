# SPDX-License-Identifier: Apache-2.0
import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import rich.console

from benchmarks import large_images
from deeplab2_like.console import progress
from deeplab2_like.large_images import predicting
from deeplab2_like.large_images.options import LargeOptions


def test_windows_are_parts_of_one_drawing():
    image = large_images.DrawnImage(300, 400)
    whole = image.read(0, 0, 300, 400).image
    part = image.read(70, 130, 200, 333).image
    np.testing.assert_array_equal(part, whole[70:200, 130:333])
    y, x = np.nonzero(whole[..., 0])
    at = whole[y, x].astype(int) - 128
    centers = {*zip(y + at[:, 1], x + at[:, 2], strict=True)}
    inside = [c for c in centers if c[0] < 300 and c[1] < 400]
    assert image.count_discs() == len(inside)


@pytest.mark.parametrize("overlap", [None, 0, 64])
def test_each_disc_is_found_once(tmp_path, overlap):
    """Tiles that see different parts of the image answer alike."""
    image = large_images.DrawnImage(300, 401)
    model = large_images.make_synthetic()
    results = [
        predicting.predict_large(
            model,
            image,
            LargeOptions(tile, overlap if tile == 129 else 0, 1 << 15),
            tmp_path / str(tile),
            progress.Progress(rich.console.Console(quiet=True)),
        )
        for tile in (129, 417)
    ]
    tiled, whole = results
    labels = tiled.labels.read(0, 300)
    assert tiled.segments.is_thing.sum() == image.count_discs()
    np.testing.assert_array_equal(labels, whole.labels.read(0, 300))
    for name, value in dataclasses.asdict(tiled.segments).items():
        np.testing.assert_array_equal(value, getattr(whole.segments, name))


@pytest.mark.slow
def test_the_program_prints_a_table(tmp_path):
    done = subprocess.run(
        [
            sys.executable,
            large_images.__file__,
            "--sides=200,300",
            "--tile=129",
            "--kills=2",
            f"--work={tmp_path}",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    rows = [
        line.strip("| ").split(" | ")
        for line in done.stdout.splitlines()
        if line.startswith("|")
    ]
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[2:]]
    assert [row["side"] for row in table] == ["200", "300"]
    for row in table:
        assert row["objects"] == row["discs"]
        assert row["same"] == "True"
    assert not list(tmp_path.iterdir())
