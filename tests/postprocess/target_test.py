# SPDX-License-Identifier: Apache-2.0
"""What functions are built for."""

import pytest

from deeplab2_like.postprocess import target


def test_without_a_gpu_functions_are_for_the_processor():
    assert not target.is_accelerator()


def test_what_is_said_holds_inside_only():
    with target.building_for(accelerator=True):
        assert target.is_accelerator()
        with target.building_for(accelerator=False):
            assert not target.is_accelerator()
        assert target.is_accelerator()
    assert not target.is_accelerator()


def test_it_ends_with_an_error_too():
    with pytest.raises(KeyError), target.building_for(accelerator=True):
        raise KeyError
    assert not target.is_accelerator()
