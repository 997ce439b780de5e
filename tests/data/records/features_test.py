# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like import errors
from deeplab2_like.data.records import features


@pytest.mark.parametrize("name", ["name", "sequence"])
def test_a_name_that_is_no_text_is_one_sentence(name):
    texts = {"name": "a.png", "sequence": "b"} | {name: "\udcff"}
    with pytest.raises(errors.DataError, match=r"'\\udcff' has bytes that are"):
        features.encode_example(
            image=b"", image_format="png", size=(1, 1), **texts
        )
