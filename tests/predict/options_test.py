# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import errors, predict


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_step": 0}, "--frame_step=0"),
        ({"start_seconds": -1.0}, "select nothing"),
        ({"start_seconds": 2.0, "end_seconds": 2.0}, "select nothing"),
        ({"end_seconds": 0.0}, "select nothing"),
    ],
)
def test_options_that_select_nothing_are_refused(options, message):
    with pytest.raises(errors.ConfigError, match=message):
        predict.PredictOptions(**options)
