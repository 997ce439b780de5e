# SPDX-License-Identifier: Apache-2.0
"""The model of a prediction: what is known before it is loaded; its identity.

In reading order: `load_facts` (without TensorFlow), `identify`, `load`.
"""

import dataclasses
import hashlib
import os
import pathlib
import sys

from deeplab2_like import config as config_lib
from deeplab2_like.checkpoints import presence
from deeplab2_like.config import run_config
from deeplab2_like.console import native_logs, progress
from deeplab2_like.exports import exported_model
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.predict import predictor as predictor_lib
from deeplab2_like.predict.images import ImagePredictor


@dataclasses.dataclass(frozen=True)
class Facts:
    """What is known of a model before it is loaded.

    Attributes:
        path: Its folder, or a checkpoint of a run.
        descriptor: The data set.
        max_pixels: Most pixels of an image.
        config: The config of a run; None for an exported model.
    """

    path: str
    descriptor: descriptor_lib.DatasetDescriptor
    max_pixels: int
    config: config_lib.Config | None = None


def load_facts(model: str) -> Facts:
    """Loads the facts of a model, without TensorFlow.

    Args:
        model: Folder that deeplab2-export wrote; or the folder of a training
            run, or a checkpoint in it.

    Raises:
        ExportError: The exported model cannot be used.
        CheckpointError: The model folder cannot be used.
    """
    run = _find_run(model)
    if run is None:
        info = exported_model.load_info(model)
        descriptor = exported_model.load_descriptor(model)
        return Facts(model, descriptor, info.max_pixels)
    presence.require(model, "--model=")
    config = run_config.load_checked(run)
    return Facts(
        model,
        descriptor_lib.load_of_run(config.options),
        config.options.evaluator_options.max_pixels or sys.maxsize,
        config,
    )


def _find_run(model: str) -> str | None:
    """Returns the folder of the run that a path is, or lies in; else None."""
    if os.path.exists(os.path.join(model, exported_model.SAVED_MODEL_FILE)):
        return None
    for folder in (model, os.path.dirname(model)):
        if os.path.isfile(os.path.join(folder, run_config.CONFIG_FILE)):
            return folder
    return None


def identify(facts: Facts) -> dict[str, str]:
    """Identifies a model by its content, wherever it lies.

    Returns:
        "path", of the exported model or of the checkpoint, and "fingerprint".

    Raises:
        CheckpointError: A run has no checkpoint.
    """
    if facts.config is None:
        fingerprint = exported_model.identify(facts.path)
        return {"path": facts.path, "fingerprint": fingerprint}
    native_logs.load_tensorflow()
    from deeplab2_like.checkpoints import files as checkpoint_files

    prefix = checkpoint_files.find_checkpoint(facts.path)
    found = hashlib.sha256(facts.config.text.encode())
    # It has the checksum of each variable.
    found.update(pathlib.Path(f"{prefix}.index").read_bytes())
    return {"path": prefix, "fingerprint": found.hexdigest()}


def load(facts: Facts, report: progress.Progress) -> ImagePredictor:
    """Loads a model, for which TensorFlow is imported."""
    report.log(f"Loading {facts.path} ...")
    native_logs.load_tensorflow()
    with native_logs.hide_routine():
        if facts.config is not None:
            from deeplab2_like.predict import panoptic_model

            return panoptic_model.load_model(
                facts.path, config=facts.config, max_pixels=facts.max_pixels
            )
        predictor = predictor_lib.Predictor.from_saved_model(facts.path)
        predictor.warm_up()
    return predictor
