# SPDX-License-Identifier: Apache-2.0
"""Drawn scenes, to be written in each form, and the comparison with them."""

import dataclasses
import io
import pathlib

import numpy as np
import pytest
from PIL import Image

from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.labels import label_map
from deeplab2_like.recipes import forms
from deeplab2_like.scenes import scene as scene_lib

SIZE = (65, 97)
DIVISOR = scene_lib.LABEL_DIVISOR
THINGS = [scene_lib.CLASS_NAMES[i] for i in scene_lib.THING_IDS]


@dataclasses.dataclass(frozen=True)
class Segment:
    """A segment of a scene: a class, its pixels, and what kind it is."""

    name: str
    mask: np.ndarray
    is_thing: bool
    is_crowd: bool


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A scene with its name."""

    name: str
    image: np.ndarray
    panoptic: np.ndarray

    @property
    def segments(self):
        found = label_map.compute_segments(self.panoptic)
        segments = []
        for value in found.ids.tolist():
            index, instance = divmod(value, DIVISOR)
            if index < scene_lib.NUM_CLASSES:
                is_thing = index in scene_lib.THING_IDS
                segments.append(
                    Segment(
                        scene_lib.CLASS_NAMES[index],
                        self.panoptic == value,
                        is_thing,
                        is_thing and instance == 0,
                    )
                )
        return segments

    def save(self, folder):
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.png"
        Image.fromarray(self.image).save(path)
        return path


@pytest.fixture(scope="session")
def scenes_of_truth():
    """Returns four scenes; among them are crowds, void and many objects."""
    drawn = []
    for seed in (19, 35, 73, 99):
        scene = scene_lib.make_scene(seed, SIZE)
        drawn.append(Drawn(f"s{seed}", scene.image, scene.panoptic))
    labels = np.concatenate([one.panoptic.ravel() for one in drawn])
    assert (labels % DIVISOR > 1).any()
    crowds = [i * DIVISOR for i in scene_lib.THING_IDS]
    assert np.isin(labels, crowds).any()
    assert (labels == scene_lib.IGNORE_LABEL * DIVISOR).any()
    return drawn


@pytest.fixture(scope="session")
def trace():
    """Returns a function from a mask to one polygon [(x, y), ...].

    It goes around each run of each row, and along the same way back, so that
    the even-odd rule fills exactly the mask.
    """

    def run(mask_hw):
        points = [(0, 0)]
        for y, row in enumerate(mask_hw):
            padded = np.concatenate([[False], row, [False]]).astype(int)
            edges = np.flatnonzero(np.diff(padded)).tolist()
            for left, right in zip(edges[::2], edges[1::2], strict=True):
                corner = (left, y)
                points += [
                    corner, (right, y), (right, y + 1), (left, y + 1),
                    corner, (0, 0),
                ]  # fmt: skip
        return points

    return run


class Loaded:
    """The images of a folder as a form reads them."""

    def __init__(self, data, **options):
        folders = {
            key: options.pop(key)
            for key in ("image_dir", "panoptic_dir", "form")
            if key in options
        }
        request = forms.Request(
            pathlib.Path(data), reading=forms.Reading(**options), **folders
        )
        self.source = forms.find_source(request)
        text, self.notes = self.source.describe("drawn")
        path = pathlib.Path(data).with_name("read.textproto")
        path.write_text(text)
        self.descriptor = descriptor_lib.load(str(path))
        self.warnings = []
        self.examples = self.source.list_examples(
            self.descriptor, self.warnings.append
        )
        self.samples = {e.name: e.load() for e in self.examples}
        self.splits = {e.name: e.split for e in self.examples}

    def names_of(self, panoptic):
        names = np.array([*self.descriptor.class_names, "void"], object)
        index = panoptic // self.descriptor.label_divisor
        index[index == self.descriptor.ignore_label] = -1
        return names[index]


@pytest.fixture(scope="session")
def load():
    return Loaded


@pytest.fixture(scope="session")
def check_truth():
    """Returns a function that compares what was read with the scenes."""

    def run(
        loaded,
        drawn,
        *,
        keeps_stuff=True,
        keeps_crowds=True,
        keeps_instances=True,
        background="background",
    ):
        things = THINGS if keeps_instances else []
        assert [
            name
            for i, name in enumerate(loaded.descriptor.class_names)
            if loaded.descriptor.is_thing(i)
        ] == [n for n in loaded.descriptor.class_names if n in things]
        for scene in drawn:
            sample = loaded.samples[scene.name]
            found_names = loaded.names_of(sample.panoptic)
            instances = sample.panoptic % loaded.descriptor.label_divisor
            expected = np.full(SIZE, background, object)
            for segment in scene.segments:
                if segment.is_crowd and not keeps_crowds:
                    expected[segment.mask] = "void"
                elif segment.is_thing or keeps_stuff:
                    expected[segment.mask] = segment.name
            np.testing.assert_array_equal(found_names, expected)
            for segment in scene.segments:
                inside = {*instances[segment.mask].tolist()}
                is_object = segment.is_thing and not segment.is_crowd
                if not is_object or not keeps_instances:
                    assert inside == {0}
                else:
                    (number,) = inside
                    assert number > 0
                    same = (found_names == segment.name) & (instances == number)
                    np.testing.assert_array_equal(same, segment.mask)
            image = Image.open(io.BytesIO(sample.image)).convert("RGB")
            np.testing.assert_array_equal(np.asarray(image), scene.image)

    return run
