# SPDX-License-Identifier: Apache-2.0
"""Panoptic segmentation models for TensorFlow and Keras.

    import deeplab2_like as d2

    model = d2.load_model("runs/first")
    result = model.predict("photo.jpg")

Importing this package is cheap: each name below loads its part, and TensorFlow
where that needs it, when it is first used. docs/python.md shows all of them;
docs/architecture.md describes the parts.
"""

import importlib
from typing import TYPE_CHECKING, Any

from deeplab2_like.console.version import VERSION as __version__  # noqa: N811

if TYPE_CHECKING:
    from deeplab2_like import errors, losses, metrics, postprocess
    from deeplab2_like.config import Config, list_configs, list_datasets
    from deeplab2_like.config import load as load_config
    from deeplab2_like.exports.saved_model import ExportOptions, export
    from deeplab2_like.labels.descriptor import (
        DatasetDescriptor,
    )
    from deeplab2_like.labels.descriptor import load as load_dataset
    from deeplab2_like.labels.descriptor import make as make_dataset
    from deeplab2_like.metrics.average_precision import (
        AveragePrecision,
    )
    from deeplab2_like.metrics.mean_iou import MeanIoU
    from deeplab2_like.metrics.panoptic_quality import (
        PanopticQuality,
    )
    from deeplab2_like.model.build_backbone import (
        build_named as build_backbone,
    )
    from deeplab2_like.model.build_backbone import (
        list_backbones,
    )
    from deeplab2_like.predict.panoptic_model import (
        PanopticModel,
        build_model,
        load_model,
    )
    from deeplab2_like.predict.predictor import Predictor
    from deeplab2_like.results.panoptic_result import (
        PanopticResult,
    )
    from deeplab2_like.trainer.run_options import RunOptions
    from deeplab2_like.trainer.runs import evaluate, train
    from deeplab2_like.visualize.visualizer import visualize as draw_result

# Each name with its module and its name there; "" is the module itself.
_HOMES = {
    "AveragePrecision": ("metrics.average_precision", "AveragePrecision"),
    "Config": ("config", "Config"),
    "DatasetDescriptor": ("labels.descriptor", "DatasetDescriptor"),
    "ExportOptions": ("exports.saved_model", "ExportOptions"),
    "MeanIoU": ("metrics.mean_iou", "MeanIoU"),
    "PanopticModel": ("predict.panoptic_model", "PanopticModel"),
    "PanopticQuality": ("metrics.panoptic_quality", "PanopticQuality"),
    "PanopticResult": ("results.panoptic_result", "PanopticResult"),
    "Predictor": ("predict.predictor", "Predictor"),
    "RunOptions": ("trainer.run_options", "RunOptions"),
    "build_backbone": ("model.build_backbone", "build_named"),
    "build_model": ("predict.panoptic_model", "build_model"),
    "draw_result": ("visualize.visualizer", "visualize"),
    "errors": ("errors", ""),
    "evaluate": ("trainer.runs", "evaluate"),
    "export": ("exports.saved_model", "export"),
    "list_backbones": ("model.build_backbone", "list_backbones"),
    "list_configs": ("config", "list_configs"),
    "list_datasets": ("config", "list_datasets"),
    "load_config": ("config", "load"),
    "load_dataset": ("labels.descriptor", "load"),
    "load_model": ("predict.panoptic_model", "load_model"),
    "losses": ("losses", ""),
    "make_dataset": ("labels.descriptor", "make"),
    "metrics": ("metrics", ""),
    "postprocess": ("postprocess", ""),
    "train": ("trainer.runs", "train"),
}

__all__ = [
    "__version__",
    "AveragePrecision",
    "Config",
    "DatasetDescriptor",
    "ExportOptions",
    "MeanIoU",
    "PanopticModel",
    "PanopticQuality",
    "PanopticResult",
    "Predictor",
    "RunOptions",
    "build_backbone",
    "build_model",
    "draw_result",
    "errors",
    "evaluate",
    "export",
    "list_backbones",
    "list_configs",
    "list_datasets",
    "load_config",
    "load_dataset",
    "load_model",
    "losses",
    "make_dataset",
    "metrics",
    "postprocess",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, attribute = _HOMES[name]
    home = importlib.import_module(f"{__name__}.{module}")
    return getattr(home, attribute) if attribute else home


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
