# SPDX-License-Identifier: Apache-2.0
"""Functions that programs of others import stay where they are."""

import importlib

import pytest

_NAMES = {
    "checkpoints.files": ("list_checkpoints",),
    "data.coco.describe_main": ("describe_categories",),
    "data.coco.entries": ("load_entries", "load_json"),
    "data.coco.samples": ("load_sample",),
    "labels.coco_format": ("load_annotations",),
    "labels.descriptor": ("load",),
    "labels.palette": ("choose_class_colors",),
    "metrics.coco_panoptic": ("compute_panoptic_quality",),
    "predict.files": ("load_image_ids",),
    "results.panoptic_result": ("PanopticResult",),
    "storage.image_files": ("find_images", "load_image"),
}


@pytest.mark.parametrize("module", _NAMES)
def test_public_functions_are_where_they_were(module):
    found = importlib.import_module(f"deeplab2_like.{module}")
    for name in _NAMES[module]:
        assert callable(getattr(found, name)), name
