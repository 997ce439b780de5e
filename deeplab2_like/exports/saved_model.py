# SPDX-License-Identifier: Apache-2.0
"""Exports a checkpoint as a SavedModel, after comparing it with the model."""

import dataclasses
import math
import pathlib
import time
from collections.abc import Iterable, Sequence
from typing import Final, Literal

import keras

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import files as checkpoint_files
from deeplab2_like.checkpoints import initialization
from deeplab2_like.config import run_config
from deeplab2_like.console import native_logs, progress, version
from deeplab2_like.exports import (
    batching,
    exported_model,
    extras,
    half_weights,
    serving,
    serving_commands,
    target,
    warmup_requests,
)
from deeplab2_like.exports import parity as parity_lib
from deeplab2_like.inference import any_size, live_model
from deeplab2_like.inference import canvas as canvas_lib
from deeplab2_like.model import folding
from deeplab2_like.storage import user_paths

# Value of `ExportOptions.jit_compile`.
BOTH: Final = "both"

# Compiling takes seconds. On two CPU cores an image of 2 million pixels then
# takes 0.2 s less, and one of 33,000 pixels 5 ms less.
_MIN_COMPILED_PIXELS = 1 << 18


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """Options of an export.

    Attributes:
        canvas: Canvas that images are padded to; see
            `buckets.build_preprocessings`.
        max_pixels: Most pixels of a request, all its images together.
        jit_compile: Whether XLA compiles the post-processing, which TensorFlow
            Serving then has to be told. None: if all images have one canvas,
            so that it is compiled once, and the canvas is large, so that it
            saves more than a few milliseconds an image. "both": each
            signature has a compiled twin, whose name ends in "_xla".
        writes_warmup: Whether to write requests that TensorFlow Serving runs
            before a model goes live.
        overwrite: Whether an earlier export may be replaced.
        folds_batch_norms: Whether batch norms become part of the convolutions
            in front of them (`folding.fold_batch_norms`): faster, and the same
            but for rounding.
        has_compact: Whether there is the signature with small answers; see
            `serving.ServingModule`.
        has_overlay: Whether there is the signature with pictures; see there.
        weights: Type in which kernels are stored, see `half_weights`.
        batch_sizes: Numbers of files of a call of the signatures whose files
            are independent, for the warm-up and for servers that batch; None:
            1, 2 and 4 where the sizes of the canvases are fixed.
        has_tile_function: Whether the network alone is stored too, for images
            larger than memory; see `serving.ServingModule`.
    """

    canvas: str = canvas_lib.CONFIG
    max_pixels: int = any_size.DEFAULT_MAX_PIXELS
    jit_compile: bool | Literal["both"] | None = False
    writes_warmup: bool = True
    overwrite: bool = False
    folds_batch_norms: bool = True
    has_compact: bool = True
    has_overlay: bool = False
    weights: str = half_weights.FLOAT32
    batch_sizes: tuple[int, ...] | None = None
    has_tile_function: bool = False


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
        info = _describe(config, checkpoint, step, live, options)
        _warn_of_unused_canvases(info, report)
        network = _prepare_network(live.network, options)
        names = _save(folder, live, network, options, info, report)
        parity = _compare(folder, live, network, options, info, images)
        info = dataclasses.replace(
            info, signatures=names, parity=parity.as_dict()
        )
        extras.write(
            folder,
            config,
            info,
            live.system.descriptor,
            writes_warmup=options.writes_warmup,
        )
    report.log(parity.describe())
    if parity.agreement is not None:
        report.log(parity.describe_agreement(options.weights))
    for sentence in serving_commands.list_remarks(info):
        report.log(sentence)
    return info


def _check_max_pixels(max_pixels: int) -> None:
    if max_pixels < 1:
        raise errors.ConfigError(
            f"--max_pixels={max_pixels} allows no image. Give a number of "
            f"pixels above 0; the default is {any_size.DEFAULT_MAX_PIXELS}."
        )


def _describe(
    config: config_lib.Config,
    checkpoint: str,
    step: int,
    live: live_model.LiveModel,
    options: ExportOptions,
) -> exported_model.ExportInfo:
    """Makes the facts that are known before anything is written."""
    sizes = [
        list(size)
        for size in map(canvas_lib.static_size, live.preprocessings)
        if size is not None
    ]
    is_compiled = _choose_jit_compile(options.jit_compile, sizes)
    info = exported_model.ExportInfo(
        experiment_name=config.options.experiment_name,
        checkpoint=checkpoint,
        step=step,
        has_instances=live.system.has_instances,
        max_pixels=options.max_pixels,
        canvas_size=sizes[0] if len(sizes) == 1 else None,
        jit_compile=is_compiled,
        compute_precision=config.options.trainer_options.compute_precision,
        versions=version.list_versions(),
        parity={},
        canvas_sizes=sizes if len(sizes) > 1 else [],
        warmup_sizes=warmup_requests.choose_sizes(
            live.preprocessings, live.typical_size
        ),
        weights=options.weights,
        config_sha256=exported_model.hash_config(config.options),
    )
    return dataclasses.replace(
        info,
        batch_sizes=batching.choose_sizes(
            options.batch_sizes, info.max_rows, has_fixed_canvas=bool(sizes)
        ),
    )


def _choose_jit_compile(
    jit_compile: bool | Literal["both"] | None, sizes: Sequence[Sequence[int]]
) -> bool:
    """Returns whether the signatures of the usual names are compiled.

    Args:
        jit_compile: See `ExportOptions`.
        sizes: The sizes of canvas; none where they depend on the image.
    """
    if jit_compile == BOTH:
        return False
    if jit_compile is not None:
        return jit_compile
    return len(sizes) == 1 and math.prod(sizes[0]) >= _MIN_COMPILED_PIXELS


def _warn_of_unused_canvases(
    info: exported_model.ExportInfo, report: progress.Progress
) -> None:
    unused = len(info.fixed_sizes) - len(info.warmup_sizes)
    if unused > 0:
        report.log(
            f"warning: {unused} of the sizes of --canvas_size are of no use: "
            "the config makes all images smaller, so that they are placed on "
            "another one."
        )


def _prepare_network(
    network: keras.Model, options: ExportOptions
) -> keras.Model:
    """Returns the network that is stored; the live one stays as it is."""
    if options.folds_batch_norms:
        network = folding.fold_batch_norms(network)
    elif options.weights != half_weights.FLOAT32:
        network = folding.copy_network(network)
    half_weights.check(network, options.weights)
    half_weights.round_weights(network, options.weights)
    return network


def _save(
    folder: pathlib.Path,
    live: live_model.LiveModel,
    network: keras.Model,
    options: ExportOptions,
    info: exported_model.ExportInfo,
    report: progress.Progress,
) -> list[str]:
    """Writes the SavedModel; returns the names of the signatures."""
    report.log("Writing the SavedModel ...")
    start = time.monotonic()
    module = serving.ServingModule(
        live.system,
        network,
        live.preprocessings,
        serving.ServingOptions(
            max_pixels=options.max_pixels,
            jit_compile=info.jit_compile,
            has_xla_twins=options.jit_compile == BOTH,
            has_compact=options.has_compact,
            has_overlay=options.has_overlay,
            weights=options.weights,
            has_tile_function=options.has_tile_function,
        ),
    )
    with native_logs.hide_routine():
        module.save(str(folder))
    report.log(f"Written in {time.monotonic() - start:.0f} s. Comparing ...")
    return list(module.functions)


def _compare(
    folder: pathlib.Path,
    live: live_model.LiveModel,
    network: keras.Model,
    options: ExportOptions,
    info: exported_model.ExportInfo,
    images: Iterable[parity_lib.NamedImage] | None,
) -> parity_lib.Parity:
    """Compares the SavedModel with the live model."""
    if images is None:
        images = parity_lib.make_images(
            live.typical_size,
            info.warmup_sizes if info.canvas_sizes else (),
        )
    is_rounded = options.weights != half_weights.FLOAT32
    # Folding changes the order of products, which matters in bfloat16: there
    # the SavedModel is compared with the folded network. So it is with rounded
    # weights, which are rounded after it.
    is_exact = live.network.compute_dtype == "float32" and not is_rounded
    with native_logs.hide_routine():
        parity = parity_lib.compare(
            str(folder),
            live.system,
            live.network if is_exact else network,
            live.preprocessings,
            images,
            needs_xla=info.jit_compile,
            original=live.network if is_rounded else None,
        )
    parity_lib.require(parity)
    parity_lib.require_agreement(parity, options.weights)
    return parity
