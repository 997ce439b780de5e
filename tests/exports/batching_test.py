# SPDX-License-Identifier: Apache-2.0
import re

import pytest

from deeplab2_like import errors
from deeplab2_like.exports import batching


def _choose(wanted=None, max_rows=100, has_fixed_canvas=True):
    return batching.choose_sizes(
        wanted, max_rows, has_fixed_canvas=has_fixed_canvas
    )


def test_small_batches_are_the_default():
    assert _choose() == [1, 2, 4]
    assert _choose(max_rows=3) == [1, 2]
    assert _choose(max_rows=1) == [1]
    assert _choose(has_fixed_canvas=False) == [1]


def test_wanted_sizes_are_sorted_and_begin_with_one():
    assert _choose((8, 4, 8)) == [1, 4, 8]


@pytest.mark.parametrize("wanted", [(0,), (1, 101), (-4,)])
def test_sizes_out_of_range_are_refused(wanted):
    with pytest.raises(errors.ConfigError, match="Allowed are 1 to 100"):
        _choose(wanted)


def test_the_largest_size_is_the_last_allowed_one():
    # Otherwise TensorFlow Serving refuses the file.
    text = batching.make_text([1, 4, 8])
    assert re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.M) == [
        "1",
        "4",
        "8",
    ]
    assert "max_batch_size { value: 8 }" in text
    for line in text.splitlines():
        assert re.fullmatch(r"#.*|\w+ \{ value: \d+ \}|\w+: \d+", line), line
