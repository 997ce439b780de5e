# SPDX-License-Identifier: Apache-2.0
"""Files are grouped into sequences by their folders."""

import pathlib

from deeplab2_like.predict import image_sequences
from deeplab2_like.storage import image_files


def _group(names, taken=()):
    files = [
        image_files.ImageFile(pathlib.Path("/data", path), relative, relative)
        for path, relative in names.items()
    ]
    return [
        (g.name, g.title, [files[place].relative_path for place in g.places])
        for g in image_sequences.group(files, taken)
    ]


def test_files_are_grouped_by_their_folders():
    names = ["b/2", "b/10", "a", "b/02", "B/1", "10", "9"]
    assert _group({name: name for name in names}) == [
        ("", "data", ["9", "10", "a"]),
        ("B", "B", ["B/1"]),
        ("b-2", "b", ["b/02", "b/2", "b/10"]),
    ]


def test_folders_that_are_inputs_are_sequences_of_their_own():
    names = {"x/munster/1": "1", "x/frankfurt/2": "2", "frankfurt/3": "3"}
    assert _group(names) == [
        ("frankfurt", "frankfurt", ["3"]),
        ("frankfurt-2", "frankfurt", ["2"]),
        ("munster", "munster", ["1"]),
    ]
    assert _group({"clip.v1/1": "clip.v1/1"}, ["clip", "clip.v1"]) == [
        ("clip.v1-2", "clip.v1", ["clip.v1/1"])
    ]
