# SPDX-License-Identifier: Apache-2.0
"""Live models: a network with its system, for notebooks and experiments.

`build_model` builds one from a config, `load_model` loads one with its weights.
"""

import os
import pathlib
from collections.abc import Mapping
from typing import Any, Self

import keras
import numpy as np
import numpy.typing as npt
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.config import run_config
from deeplab2_like.exports import exported_model
from deeplab2_like.inference import any_size, buckets, canvas, live_model
from deeplab2_like.large_images import live, network
from deeplab2_like.predict.images import ImageLike, ImagePredictor
from deeplab2_like.predict.predictor import Predictor
from deeplab2_like.storage import user_paths

ConfigLike = config_lib.Config | str | os.PathLike[str]


class PanopticModel(ImagePredictor):
    """The network and the post-processing of a config.

    Attributes:
        config: The config.
        system: The `MetaArchitecture`: losses, targets, post-processing.
        network: The Keras model, with all its variables.
        step: Training step of the loaded checkpoint; 0 without one.
    """

    def __init__(
        self,
        config: config_lib.Config,
        *,
        canvas_size: str = canvas.CONFIG,
        max_pixels: int = any_size.DEFAULT_MAX_PIXELS,
    ):
        """Builds the network with random weights.

        Args:
            config: The config.
            canvas_size: Canvas that images are padded to: "config", "fit",
                "height,width" or several sizes; see
                `buckets.build_preprocessings`.
            max_pixels: Most pixels of an image.

        Raises:
            ConfigError: The config cannot be built, or the canvas is not
                legal.
        """
        live = live_model.build(config.options, canvas_size)
        self.config = config
        self.system = live.system
        self.network = live.network
        self.descriptor = live.system.descriptor
        self.max_pixels = max_pixels
        self.step = 0
        self._preprocessings = live.preprocessings
        made = buckets.make(
            self.system, self.network, self._preprocessings, jit_compile=False
        )
        self._predict = buckets.make_predict(self.system, made)

    @property
    def backbone(self) -> keras.Model:
        """The backbone of the network."""
        return self.network.backbone

    def load_weights(self, checkpoint: str | os.PathLike[str]) -> Self:
        """Loads the weights of a checkpoint, averaged ones where it has them.

        Args:
            checkpoint: Prefix of a checkpoint of this package or of deeplab2,
                or a model folder, whose newest checkpoint is taken.

        Raises:
            CheckpointError: There is no checkpoint, or it does not fit the
                model.
        """
        prefix = checkpoint_files.find_checkpoint(os.fspath(checkpoint))
        self.step = initialization.restore_all(prefix, self.network)
        return self

    def compute_outputs(
        self, image: ImageLike
    ) -> dict[str, npt.NDArray[np.float32]]:
        """Computes the outputs of the network, without post-processing.

        Args:
            image: See `predict`, also for errors.

        Returns:
            The outputs on the canvas by name, without the axis of the batch;
            for Panoptic-DeepLab "semantic_logits" [h, w, classes],
            "center_heatmap" [h, w, 1] and "offset_map" [h, w, 2].
        """
        pixels = tf.constant(self.load_image(image)[np.newaxis])
        index = buckets.choose(tf.shape(pixels)[1:3], self._preprocessings)
        canvas_bhw3, _ = canvas.place_images(
            pixels, self._preprocessings[int(index)]
        )
        outputs = self.system.infer(self.network, canvas_bhw3)
        return {name: value.numpy()[0] for name, value in outputs.items()}

    def tile_model(self) -> network.TileModel:
        """Returns the network alone, for parts of large images."""
        return live.make_tile_model(
            self.system,
            self.network,
            self._preprocessings[0],
            self.config.text,
        )

    def _serve(self, images: Any) -> Mapping[str, Any]:
        return self._predict(images)


def build_model(
    config: ConfigLike,
    *,
    canvas_size: str = canvas.CONFIG,
    max_pixels: int = any_size.DEFAULT_MAX_PIXELS,
) -> PanopticModel:
    """Builds the model of a config, with random weights.

    Args:
        config: A config, its file, or the name of a shipped one.
        canvas_size: See `PanopticModel`, also for errors.
        max_pixels: Most pixels of an image.
    """
    if not isinstance(config, config_lib.Config):
        config = config_lib.load(os.fspath(config))
    return PanopticModel(config, canvas_size=canvas_size, max_pixels=max_pixels)


def load_model(
    path: str | os.PathLike[str],
    *,
    config: ConfigLike | None = None,
    canvas_size: str = canvas.CONFIG,
    max_pixels: int = any_size.DEFAULT_MAX_PIXELS,
) -> PanopticModel | Predictor:
    """Loads a model with its weights.

    Args:
        path: A model folder, whose newest checkpoint is taken; the prefix of
            a checkpoint; or a folder that deeplab2-export wrote.
        config: The config of the model; that of the model folder when None.
            Needed for checkpoints outside of a model folder.
        canvas_size: See `PanopticModel`; ignored for a SavedModel.
        max_pixels: Most pixels of an image; ignored for a SavedModel.

    Returns:
        A `PanopticModel`, or a `Predictor` of a SavedModel.

    Raises:
        CheckpointError: There is no checkpoint, or it does not fit the model.
        ConfigError: There is no config, or it has problems.
        ExportError: The SavedModel is damaged.
    """
    path = user_paths.expand_checkpoint(path)
    folder = pathlib.Path(path)
    if (folder / exported_model.SAVED_MODEL_FILE).is_file():
        return Predictor.from_saved_model(folder)
    prefix = checkpoint_files.find_checkpoint(path)
    if config is None:
        config = _load_config_beside(prefix)
    model = build_model(config, canvas_size=canvas_size, max_pixels=max_pixels)
    return model.load_weights(prefix)


def _load_config_beside(prefix: str) -> config_lib.Config:
    """Loads the config of the model folder that contains a checkpoint."""
    folder = os.path.dirname(prefix)
    if not os.path.exists(os.path.join(folder, run_config.CONFIG_FILE)):
        raise errors.CheckpointError(
            f"{prefix} lies in no model folder: there is no "
            f"{run_config.CONFIG_FILE} beside it. Give the config too, for "
            'example config="cityscapes/panoptic_deeplab/resnet50_os32".'
        )
    return run_config.load_checked(folder)
