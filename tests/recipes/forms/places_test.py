# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.recipes.forms import places


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train/a.png", "train"),
        ("images/Training/a.png", "train"),
        ("train2017/a.png", "train"),
        ("valid/images/a.png", "val"),
        ("a/dev/b/c.png", "val"),
        ("testing/a.png", "test"),
        ("trains/a.png", ""),
        ("strain/a.png", ""),
        ("train.png", ""),
        ("train/val/a.png", "val"),
    ],
)
def test_a_folder_names_the_split(path, split):
    assert places.find_split(path) == split
