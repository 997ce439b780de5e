# SPDX-License-Identifier: Apache-2.0
"""Numbers of an evaluation, as in eval/metrics.json."""

import copy

import pytest


def _quality(pq, tp=3, fp=1, fn=2, **more):
    return {"PQ": pq, "SQ": pq, "RQ": pq, "tp": tp, "fp": fp, "fn": fn} | more


_GROUPS = {
    name: _quality(pq, 7, 3, 4, num_classes=count)
    for name, pq, count in (
        ("all", 0.5, 3),
        ("things", 0.4, 2),
        ("stuff", 0.7, 1),
    )
}
_SIZES = [
    {
        "lowest": low,
        "below": below,
        **_quality(pq, num_classes=1),
        "classes": {"car": _quality(pq), "bus": _quality(None, 0, 0, 0)},
    }
    for low, below, pq in (
        (0, 1024, 0.2),
        (1024, 9216, 0.6),
        (9216, None, None),
    )
]
_METRICS = {
    "experiment": "small",
    "checkpoint": "runs/1/ckpt-400",
    "step": 400,
    "data_set": "streets",
    "file_pattern": ["records/val-*"],
    "pq_variant": "panopticapi",
    "versions": {"tensorflow": "2.20.0"},
    "summaries": {"evaluation/iou/IoU": 0.61},
    "warnings": ["No thing occurs."],
    "average_precision": {"AP": 0.31, "AP_small": 0.1, "AP_large": None},
    "groups": _GROUPS,
    "pixel_accuracy": 0.9,
    "num_images": 12345,
    "classes": {
        "road": {"is_thing": False, "IoU": 0.8, **_quality(0.7)},
        "car": {"is_thing": True, "IoU": 0.6, "AP": 0.31, **_quality(0.4)},
        "bus": {
            "is_thing": True,
            "IoU": None,
            "AP": None,
            **_quality(None, 0, 0, 0),
        },
    },
    "confusion": {
        "true_classes": ["road", "car", "bus"],
        "predicted_classes": ["road", "car", "bus", "(void)"],
        "pixels": [[800, 150, 0, 50], [30, 170, 0, 0], [0, 0, 0, 0]],
    },
    "images": [
        {"name": "a", "mIoU": 0.2, **_quality(0.1, num_classes=2)},
        {"name": "b", "mIoU": 0.4, **_quality(0.3, num_classes=2)},
    ],
    "object_sizes": {"coco": _SIZES, "thirds": _SIZES},
    "score_reliability": {
        "count": 10,
        "mean_score": 0.5,
        "precision": 0.7,
        "ECE": 0.2,
        "bins": [
            {
                "lowest": i / 10,
                "highest": (i + 1) / 10,
                "count": 10 if i == 5 else 0,
                "matched": 7 if i == 5 else 0,
                "mean_score": 0.5 if i == 5 else None,
                "precision": 0.7 if i == 5 else None,
            }
            for i in range(10)
        ],
        "classes": {
            "car": {
                "count": 10,
                "mean_score": 0.5,
                "precision": 0.7,
                "ECE": 0.2,
            },
            "bus": {
                "count": 0,
                "mean_score": None,
                "precision": None,
                "ECE": None,
            },
        },
    },
    "oracles": [
        {
            "true_parts": parts,
            "groups": _GROUPS | {"all": _quality(pq, num_classes=3)},
        }
        for parts, pq in (
            ([], 0.5),
            (["semantic"], 0.8),
            (["centers"], 0.55),
            (["semantic", "centers", "offsets"], 0.99),
        )
    ],
}


@pytest.fixture
def metrics():
    """Returns the content of a metrics.json of three classes."""
    return copy.deepcopy(_METRICS)
