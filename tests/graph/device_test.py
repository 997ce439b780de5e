# SPDX-License-Identifier: Apache-2.0
"""What functions are built for."""

import pytest

from deeplab2_like.graph import device


def test_without_a_gpu_functions_are_for_the_processor():
    assert not device.is_accelerator()


def test_what_is_said_holds_inside_only():
    with device.building_for(accelerator=True):
        assert device.is_accelerator()
        with device.building_for(accelerator=False):
            assert not device.is_accelerator()
        assert device.is_accelerator()
    assert not device.is_accelerator()


def test_it_ends_with_an_error_too():
    with pytest.raises(KeyError), device.building_for(accelerator=True):
        raise KeyError
    assert not device.is_accelerator()
