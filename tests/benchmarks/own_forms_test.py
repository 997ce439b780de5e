# SPDX-License-Identifier: Apache-2.0
"""The forms that the benchmark writes are read, with all their objects."""

import pathlib

import numpy as np
import pytest

from benchmarks import own_forms
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.recipes import forms


@pytest.fixture(scope="module")
def drawn():
    return [own_forms.draw(number) for number in (19, 35)]


def _read_flags(flags):
    """Returns the options of reading that flags of deeplab2-prepare give."""
    options = {}
    for flag in [flags] if isinstance(flags, str) else flags or []:
        name, value = flag.removeprefix("--").split("=", 1)
        options[name] = (
            pathlib.Path(value)
            if name == "classes"
            else tuple(value.split(","))
        )
    return options


@pytest.mark.parametrize("form", own_forms.FORMS)
def test_each_form_is_recognized_with_its_objects(form, drawn, tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    options = _read_flags(own_forms.FORMS[form](data, drawn))
    source = forms.find_source(
        forms.Request(data, reading=forms.Reading(**options))
    )
    text, _ = source.describe("drawn")
    (tmp_path / "read.textproto").write_text(text)
    descriptor = descriptor_lib.load(str(tmp_path / "read.textproto"))
    samples = {
        example.name: example.load()
        for example in source.list_examples(descriptor, print)
    }
    assert len(samples) == len(drawn)
    for one in drawn:
        (sample,) = (s for name, s in samples.items() if one.name in name)
        classes, instances = np.divmod(
            sample.panoptic, descriptor.label_divisor
        )
        is_object = (classes != descriptor.ignore_label) & (instances > 0)
        found = np.unique(sample.panoptic[is_object]).size
        assert found == one.objects.max()
        # Polygons around the rows of an object cover what lies between.
        assert (is_object == (one.objects > 0)).mean() > 0.97


def test_a_polygon_covers_its_mask():
    mask = np.zeros((5, 7), bool)
    mask[1, 2:4] = mask[2, 1:6] = True
    assert own_forms.trace(mask) == [
        (2, 1), (2, 2), (1, 2), (1, 3), (6, 3), (6, 2), (4, 2), (4, 1),
    ]  # fmt: skip
