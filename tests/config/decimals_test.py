# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.config import decimals


@pytest.mark.parametrize(
    "written", [0.1, 1e-3, 0.99, 1e-30, -2.5, 0.0, 3.0, 1234.567]
)
def test_a_float_field_is_read_as_it_was_written(written):
    assert decimals.read_decimal(float(np.float32(written))) == written
