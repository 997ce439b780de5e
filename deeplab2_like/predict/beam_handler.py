# SPDX-License-Identifier: Apache-2.0
"""Lets RunInference of Apache Beam predict images with an exported model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from apache_beam.ml.inference import base

from deeplab2_like import errors
from deeplab2_like.predict import beam_files
from deeplab2_like.predict.predictor import Predictor
from deeplab2_like.results.panoptic_result import PanopticResult


class PanopticModelHandler(
    base.ModelHandler[npt.NDArray[np.uint8], Any, Predictor]
):
    """Lets RunInference predict images, uint8 [H, W, 3], of any sizes.

    The result of an image is what `Predictor.predict` returns, or the text of
    its `DataError`.
    """

    def __init__(self, model: str):
        """Stores the path of a folder that deeplab2-export wrote.

        Args:
            model: The folder, on every worker or at an address that Beam
                reads.
        """
        super().__init__()
        self._folder = model

    def load_model(self) -> Predictor:
        """Loads the model, once for each process."""
        return Predictor.from_saved_model(beam_files.fetch_folder(self._folder))

    def run_inference(
        self,
        batch: Sequence[npt.NDArray[np.uint8]],
        model: Predictor,
        inference_args: dict[str, Any] | None = None,  # noqa: ARG002
    ) -> list[PanopticResult | str]:
        """Predicts images one by one."""
        return [_predict(model, pixels) for pixels in batch]

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """Returns the sizes of batches."""
        return {"min_batch_size": 1, "max_batch_size": 1}

    def get_num_bytes(self, batch: Sequence[npt.NDArray[np.uint8]]) -> int:
        """Returns the bytes of a batch."""
        return sum(pixels.nbytes for pixels in batch)


def _predict(
    model: Predictor, pixels_hw3: npt.NDArray[np.uint8]
) -> PanopticResult | str:
    try:
        return model.predict(pixels_hw3)
    except errors.DataError as error:
        return str(error)
