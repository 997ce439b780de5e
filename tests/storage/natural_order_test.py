# SPDX-License-Identifier: Apache-2.0
from deeplab2_like.storage import natural_order


def test_names_are_sorted_as_people_count():
    names = ["b/2", "b/10", "a", "b/02", "B/1", "10", "9", ""]
    ordered = sorted(names, key=natural_order.key)
    assert ordered == ["", "9", "10", "a", "B/1", "b/02", "b/2", "b/10"]
