# SPDX-License-Identifier: Apache-2.0
"""Exports a checkpoint as a SavedModel, after comparing it with the model."""

import dataclasses
import math
import pathlib
import shlex
import time
from collections.abc import Iterable, Sequence

import numpy as np
import tensorflow as tf

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.config import run_config
from deeplab2_like.console import native_logs, progress, version
from deeplab2_like.exports import (
    exported_model,
    readme,
    serving,
    target,
    warmup,
    xla_off,
)
from deeplab2_like.exports import parity as parity_lib
from deeplab2_like.inference import any_size, live_model
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.model import folding
from deeplab2_like.storage import user_paths

# Compiling takes seconds. On two CPU cores an image of 2 million pixels then
# takes 0.2 s less, and one of 33,000 pixels 5 ms less.
_MIN_COMPILED_PIXELS = 1 << 18


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        canvas: Canvas that images are padded to; see
            `canvas.build_preprocessing`.
        max_pixels: Most pixels of a request, all its images together.
        jit_compile: Whether XLA compiles the post-processing, which TensorFlow
            Serving then has to be told. None: if all images have one canvas,
            so that it is compiled once, and the canvas is large, so that it
            saves more than a few milliseconds an image.
        writes_warmup: Whether to write requests that TensorFlow Serving runs
            before a model goes live.
        overwrite: Whether an earlier export may be replaced.
        folds_batch_norms: Whether batch norms become part of the convolutions
            in front of them (`folding.fold_batch_norms`): faster, and the same
            but for rounding.
        has_compact: Whether there is the signature with small answers; see
            `serving.ServingModule`.
    """

    canvas: str = canvas_lib.CONFIG
    max_pixels: int = any_size.DEFAULT_MAX_PIXELS
    jit_compile: bool | None = False
    writes_warmup: bool = True
    overwrite: bool = False
    folds_batch_norms: bool = True
    has_compact: bool = True


def export(
    model_dir: str | None,
    out: str,
    options: ExportOptions | None = None,
    *,
    config: config_lib.Config | None = None,
    checkpoint: str | None = None,
    images: Iterable[parity_lib.NamedImage] | None = None,
    report: progress.Progress | None = None,
) -> exported_model.ExportInfo:
    """Exports a checkpoint as a SavedModel.

    Args:
        model_dir: The model folder of a run; None where `config` and
            `checkpoint` are given.
        out: Folder of the SavedModel; appears only when it is complete.
        options: Options of the export; the defaults when None.
        config: The config; that of the model folder when None.
        checkpoint: Prefix of the checkpoint, whose averaged weights are taken
            where it has them; the newest of the model folder when None.
        images: Images on which the SavedModel is compared with the live model;
            a few drawn scenes when None.
        report: Display of the progress; on standard error when None.

    Returns:
        The facts that are also written into the folder.

    Raises:
        ConfigError: The config cannot be built or the canvas is not legal.
        CheckpointError: The checkpoint does not fit the model.
        ExportError: `out` exists, or the SavedModel differs from the model.
    """
    options = options or ExportOptions()
    report = report or progress.Progress()
    _check_max_pixels(options.max_pixels)
    if model_dir is None and (config is None or checkpoint is None):
        raise errors.ConfigError(
            "There is nothing to export. Give the folder of a training run, or "
            "both a config and a checkpoint."
        )
    out = user_paths.expand_checkpoint(out, "out=")
    source = user_paths.expand_checkpoint(checkpoint or str(model_dir))
    config = config or run_config.load_checked(
        user_paths.expand(str(model_dir), "model_dir=")
    )
    checkpoint = checkpoint_files.find_checkpoint(source)
    with target.new_folder(out, overwrite=options.overwrite) as folder:
        with native_logs.hide_routine():
            live = live_model.build(config.options, options.canvas)
            step = initialization.restore_all(checkpoint, live.network)
        report.log(f"Restored {checkpoint} (step {step})")
        size = canvas_lib.static_size(live.preprocessing)
        jit_compile = _choose_jit_compile(options.jit_compile, size)
        network = live.network
        if options.folds_batch_norms:
            network = folding.fold_batch_norms(network)
        exported = dataclasses.replace(live, network=network)
        _save(folder, exported, options, jit_compile, report)
        # Folding changes the order of products, which matters in bfloat16:
        # there the SavedModel is compared with the folded network.
        is_exact = live.network.compute_dtype == "float32"
        compared = live if is_exact else exported
        parity = _compare(folder, compared, images, needs_xla=jit_compile)
        info = exported_model.ExportInfo(
            experiment_name=config.options.experiment_name,
            checkpoint=checkpoint,
            step=step,
            has_instances=live.system.has_instances,
            max_pixels=options.max_pixels,
            canvas_size=None if size is None else list(size),
            jit_compile=jit_compile,
            compute_precision=config.options.trainer_options.compute_precision,
            versions=version.list_versions(),
            parity=parity.as_dict(),
        )
        _write_extras(folder, config, info, live, options)
    report.log(parity.describe())
    if jit_compile:
        report.log(f"warning: {describe_server(config)}")
    return info


def describe_server(config: config_lib.Config) -> str:
    """Returns a sentence about serving a compiled model of a config."""
    name = shlex.quote(readme.choose_name(config.options.experiment_name))
    return (
        "This model is compiled by XLA, which TensorFlow Serving switches off: "
        "start it as tensorflow_model_server --rest_api_port=8501 "
        f"--model_name={name} --model_base_path=/models/{name} "
        f"{xla_off.SERVER_FLAG} (on a GPU {xla_off.SERVER_FLAG_GPU}), or "
        "export with --jit_compile=false."
    )


def _check_max_pixels(max_pixels: int) -> None:
    if max_pixels < 1:
        raise errors.ConfigError(
            f"--max_pixels={max_pixels} allows no image. Give a number of "
            f"pixels above 0; the default is {any_size.DEFAULT_MAX_PIXELS}."
        )


def _choose_jit_compile(
    jit_compile: bool | None, size: tuple[int, int] | None
) -> bool:
    """Returns `ExportOptions.jit_compile` with None resolved.

    Args:
        jit_compile: The option.
        size: Canvas of all images; None where it depends on the image.
    """
    if jit_compile is not None:
        return jit_compile
    return size is not None and math.prod(size) >= _MIN_COMPILED_PIXELS


def _save(
    folder: pathlib.Path,
    live: live_model.LiveModel,
    options: ExportOptions,
    jit_compile: bool,
    report: progress.Progress,
) -> None:
    report.log("Writing the SavedModel ...")
    start = time.monotonic()
    module = serving.ServingModule(
        live.system,
        live.network,
        live.preprocessing,
        max_pixels=options.max_pixels,
        jit_compile=jit_compile,
        has_compact=options.has_compact,
    )
    with native_logs.hide_routine():
        module.save(str(folder))
    report.log(f"Written in {time.monotonic() - start:.0f} s. Comparing ...")


def _compare(
    folder: pathlib.Path,
    live: live_model.LiveModel,
    images: Iterable[parity_lib.NamedImage] | None,
    *,
    needs_xla: bool,
) -> parity_lib.Parity:
    if images is None:
        images = parity_lib.make_images(live.typical_size)
    with native_logs.hide_routine():
        parity = parity_lib.compare(
            str(folder),
            live.system,
            live.network,
            live.preprocessing,
            images,
            needs_xla=needs_xla,
        )
    parity_lib.require(parity)
    return parity


def _write_extras(
    folder: pathlib.Path,
    config: config_lib.Config,
    info: exported_model.ExportInfo,
    live: live_model.LiveModel,
    options: ExportOptions,
) -> None:
    """Writes the files beside the SavedModel: README, descriptions, warm-up."""
    exported_model.write(
        folder,
        info,
        config.options,
        config_lib.load_dataset(descriptor_lib.name_of_run(config.options)),
    )
    text = readme.make_readme(
        info, live.system.descriptor, has_compact=options.has_compact
    )
    (folder / exported_model.README_FILE).write_text(text, encoding="utf-8")
    if options.writes_warmup:
        requests = _make_warmup(live.typical_size, options.has_compact)
        warmup.write(str(folder), requests)


def _make_warmup(size: Sequence[int], has_compact: bool) -> list[bytes]:
    """Makes a request for each signature, with an image of this size."""
    image = np.zeros((*size, 3), np.uint8)
    encoded = tf.io.encode_jpeg(image).numpy()
    of_bytes = [serving.BYTES_SIGNATURE]
    if has_compact:
        of_bytes.append(serving.COMPACT_SIGNATURE)
    return [
        warmup.encode_request(
            serving.IMAGES_SIGNATURE, {"images": image[np.newaxis]}
        ),
        *(
            warmup.encode_request(name, {"image_bytes": [encoded]})
            for name in of_bytes
        ),
    ]
