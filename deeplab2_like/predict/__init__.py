# SPDX-License-Identifier: Apache-2.0
"""Predicts images with exported models.

`Predictor` predicts one image at a time, `predict_files` files and folders,
`predict_part` a part of the tiles of large images.
Importing this package does not import TensorFlow.
"""

from deeplab2_like.large_images.parts import Part
from deeplab2_like.predict.files import (
    JSON_FILE,
    OVERLAY_ENDING,
    PANOPTIC_ENDING,
    PredictedFiles,
    PredictOptions,
    load_image_ids,
    predict_files,
    predict_part,
)
from deeplab2_like.predict.images import ImageLike, ImagePredictor
from deeplab2_like.predict.predictor import Predictor

__all__ = [
    "JSON_FILE",
    "OVERLAY_ENDING",
    "PANOPTIC_ENDING",
    "ImageLike",
    "ImagePredictor",
    "Part",
    "PredictOptions",
    "PredictedFiles",
    "Predictor",
    "load_image_ids",
    "predict_files",
    "predict_part",
]
