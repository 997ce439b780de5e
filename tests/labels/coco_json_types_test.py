# SPDX-License-Identifier: Apache-2.0
from deeplab2_like.labels import coco_json_types


def test_packed_segments_are_a_sequence():
    segments = [
        coco_json_types.Segment(9, 3, 12),
        coco_json_types.Segment(2**24 - 1, -(10**30), 0.5, True, 0.25),
    ]
    packed = coco_json_types.PackedSegments(segments)
    assert packed == segments == [*packed] == packed[:]
    assert packed == tuple(segments)
    assert packed != segments[:1]
    assert (len(packed), packed[-1], packed[0]) == (2, segments[1], segments[0])
    assert hash(packed) == hash(coco_json_types.PackedSegments(packed))
    assert not coco_json_types.PackedSegments()
