# SPDX-License-Identifier: Apache-2.0
"""PQ of COCO-panoptic files against panopticapi."""

import json

from deeplab2_like.metrics import coco_panoptic

FAMILY = "metrics_coco_panoptic"

_GROUPS = {"All": "all", "Things": "things", "Stuff": "stuff"}
_GROUP_FIELDS = {"pq": "pq", "sq": "sq", "rq": "rq", "n": "num_classes"}
_CLASS_FIELDS = ("pq", "sq", "rq", "iou_sum", "tp", "fp", "fn")


def test_files_score_as_by_panopticapi(reference_case):
    folder = reference_case.path.parent
    expected = json.loads(reference_case.path.read_text())
    result = coco_panoptic.compute_panoptic_quality(
        folder / "gt.json", folder / "pred.json"
    )
    per_class = {str(quality.class_id): quality for quality in result.per_class}
    occurring = {
        name for name, q in per_class.items() if q.tp + q.fp + q.fn > 0
    }
    with reference_case(entries=_list_entries(expected)) as case:
        for entry, group in _GROUPS.items():
            for key, value in expected.get(entry, {}).items():
                case.compare_value(
                    f"{entry}/{key}",
                    getattr(getattr(result, group), _GROUP_FIELDS[key]),
                    value,
                    atol=1e-9,
                )
        assert occurring == set(expected["per_class"])
        for name, values in expected["per_class"].items():
            for key in _CLASS_FIELDS:
                case.compare_value(
                    f"per_class/{name}/{key}",
                    getattr(per_class[name], key),
                    values[key],
                    atol=1e-9,
                )


def _list_entries(expected):
    """Names every number of the expectation."""
    entries = []
    for name, value in expected.items():
        groups = value.items() if name == "per_class" else [(None, value)]
        for inner, numbers in groups:
            prefix = f"{name}/{inner}" if inner else name
            entries.extend(f"{prefix}/{key}" for key in numbers)
    return entries
