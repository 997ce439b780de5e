# SPDX-License-Identifier: Apache-2.0
"""Metrics: host accumulators with `update`, `merge` and `result`.

No TensorFlow. Reading order: `overlaps` (which segments share pixels),
`panoptic_quality`, `mean_iou`, `instance_matching` and `average_precision`;
`coco_panoptic` scores files, `coco_main` is its program. Of videos and volumes:
`tube_overlaps`, `tracking_quality`, `video_panoptic_quality`; `track_frames`
and `volume_frames` read files, `tracks_main` is the program.
"""
