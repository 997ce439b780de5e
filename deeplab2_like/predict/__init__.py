# SPDX-License-Identifier: Apache-2.0
"""Prediction with exported models, without importing TensorFlow up front.

`Predictor` takes one image at a time, `predict_files` files and folders.
"""

from deeplab2_like.predict.files import (
    JSON_FILE,
    OVERLAY_ENDING,
    PANOPTIC_ENDING,
    PredictedFiles,
    load_image_ids,
    predict_files,
)
from deeplab2_like.predict.predictor import ImageLike, Predictor

__all__ = [
    "JSON_FILE",
    "OVERLAY_ENDING",
    "PANOPTIC_ENDING",
    "ImageLike",
    "PredictedFiles",
    "Predictor",
    "load_image_ids",
    "predict_files",
]
