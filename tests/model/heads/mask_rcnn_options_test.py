# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.model.heads import mask_rcnn_options


@pytest.mark.parametrize("count", [0, 6])
def test_there_are_no_more_sizes_of_anchors_than_levels(count):
    with pytest.raises(ValueError, match="5 levels"):
        mask_rcnn_options.InstanceOptions(2, anchor_sizes=(32.0,) * count)
