# SPDX-License-Identifier: Apache-2.0
"""Exports a training run as a SavedModel for TensorFlow and its Serving.

    deeplab2-export --model_dir=RUN --out=SAVED

The SavedModel is compared with the live model and only kept if they agree.
"""

import pathlib
import shlex
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Literal

from absl import flags

from deeplab2_like import config as config_lib
from deeplab2_like import errors
from deeplab2_like.checkpoints import presence
from deeplab2_like.config import run_config
from deeplab2_like.console import native_logs, path_flags, program, progress
from deeplab2_like.exports import target
from deeplab2_like.storage import image_files

if TYPE_CHECKING:
    from deeplab2_like.exports import parity

# Of this program only: others use the same names.
_FLAGS = flags.FlagValues()

_MODEL_DIR = path_flags.define(
    "model_dir",
    None,
    "Folder of the training run to export.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_OUT = path_flags.define(
    "out",
    None,
    "Folder of the SavedModel to write. Required.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_CHECKPOINT = path_flags.define(
    "checkpoint",
    None,
    "Checkpoint to export, such as run/ckpt-1000; the newest of --model_dir "
    "when not given. Checkpoints of deeplab2 work too.",
    flag_values=_FLAGS,
    holds_checkpoint=True,
)
_CONFIG_FILE = path_flags.define(
    "config_file",
    None,
    "Config, a file or a shipped one's name; needed only without --model_dir, "
    "whose own config is taken otherwise.",
    flag_values=_FLAGS,
)
_CONFIG_OVERRIDE = flags.DEFINE_multi_string(
    "config_override",
    [],
    "Text format fragment that is merged over the config, for example "
    "'evaluator_options { nms_kernel: 13 }'. May be given several times.",
    flag_values=_FLAGS,
)
_CANVAS_SIZE = flags.DEFINE_string(
    "canvas_size",
    "config",
    "What images are padded to. config: as the evaluation of the run; fit: "
    "each image to its own smallest canvas; height,width (such as 513,1025): "
    "all to one size, larger ones reduced; 513x1025,1025x2049: each to the "
    "smallest of these that holds it, larger ones reduced.",
    flag_values=_FLAGS,
)
_MAX_PIXELS = flags.DEFINE_integer(
    "max_pixels",
    20_000_000,
    "Most pixels of a request; larger ones are refused before decoding.",
    flag_values=_FLAGS,
)
_JIT_COMPILE_VALUES: dict[str, bool | Literal["both"] | None] = {
    "auto": None,
    "true": True,
    "false": False,
    "both": "both",
}
_JIT_COMPILE = flags.DEFINE_enum(
    "jit_compile",
    "false",
    list(_JIT_COMPILE_VALUES),
    "Whether XLA compiles the post-processing: several times faster, but the "
    "first image of each canvas size takes seconds, and TensorFlow Serving "
    "runs it only when started with --xla_cpu_compilation_enabled=true (on a "
    "GPU --xla_gpu_compilation_enabled=true). auto: when all images have one "
    "large canvas. both: each signature as it is, and compiled under a name "
    "that ends in _xla.",
    flag_values=_FLAGS,
)
_FOLD_BATCH_NORMS = flags.DEFINE_bool(
    "fold_batch_norms",
    True,
    "Make batch norms part of the convolutions in front of them: faster, and "
    "the same but for rounding.",
    flag_values=_FLAGS,
)
_PARITY_IMAGES = path_flags.define_list(
    "parity_images",
    "Images or folders on which the SavedModel is compared with the live "
    "model before it is kept; drawn scenes when not given.",
    flag_values=_FLAGS,
)
_WARMUP = flags.DEFINE_bool(
    "warmup",
    True,
    "Write the requests that TensorFlow Serving runs before going live.",
    flag_values=_FLAGS,
)
_COMPACT = flags.DEFINE_bool(
    "compact_signature",
    True,
    "Write the signature encoded_compact too: files of any sizes in, for each "
    "a PNG of its segments and their table, or a sentence, out.",
    flag_values=_FLAGS,
)
_OVERLAY = flags.DEFINE_bool(
    "overlay_signature",
    False,
    "Write the signature encoded_overlay too: files of any sizes in, for each "
    "a PNG of the image with its segments in colors out.",
    flag_values=_FLAGS,
)
_TILE_FUNCTION = flags.DEFINE_bool(
    "tile_function",
    False,
    "Write the network alone too, which deeplab2-predict --tile runs on parts "
    "of images that are larger than memory.",
    flag_values=_FLAGS,
)
_WEIGHTS = flags.DEFINE_enum(
    "weights",
    "float32",
    ("float32", "bfloat16", "float16"),
    "How kernels are stored. In 16 bits the model is half as large; it is "
    "computed in float32 all the same, with weights that were rounded.",
    flag_values=_FLAGS,
)
_BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes",
    None,
    "Numbers of files that a server may put into one call of encoded_compact "
    "and encoded_overlay, such as 1,4,8: for the warm-up and for "
    "batching_params.pbtxt. 1,2,4 when not given, or 1 where each image has a "
    "canvas of its own.",
    flag_values=_FLAGS,
)
_OVERWRITE = flags.DEFINE_bool(
    "overwrite", False, "Replace an earlier export.", flag_values=_FLAGS
)


def _load_images(
    max_pixels: int,
) -> "Iterator[parity.NamedImage] | None":
    if not _PARITY_IMAGES.value:
        return None
    warn = progress.Progress().log
    found = image_files.find_images(_PARITY_IMAGES.value, warn=warn)
    return (
        (
            str(entry.path),
            image_files.load_image(entry.path, max_pixels, warn=warn),
        )
        for entry in found
    )


def _read_batch_sizes() -> tuple[int, ...] | None:
    if _BATCH_SIZES.value is None:
        return None
    try:
        return tuple(int(size) for size in _BATCH_SIZES.value)
    except ValueError:
        raise errors.ConfigError(
            f"--batch_sizes={','.join(_BATCH_SIZES.value)} are not numbers. "
            "Give whole numbers with commas between, such as 1,4,8."
        ) from None


def _check_flags(arguments: Sequence[str]) -> None:
    program.refuse_arguments(arguments)
    program.require(_OUT, "the folder to write", "saved")
    if not (_MODEL_DIR.value or _CONFIG_FILE.value):
        raise errors.ConfigError(
            "--model_dir is missing. Give the folder of a training run, or "
            "--config_file and --checkpoint."
        )
    if not (_MODEL_DIR.value or _CHECKPOINT.value):
        raise errors.ConfigError(
            "--checkpoint is missing. Give one, or the --model_dir of a run."
        )


def _main(arguments: Sequence[str]) -> None:
    _check_flags(arguments)
    overrides = _CONFIG_OVERRIDE.value
    if _CONFIG_FILE.value:
        config = config_lib.load(_CONFIG_FILE.value, overrides)
    else:
        config = run_config.load_checked(_MODEL_DIR.value, overrides)
    images = _load_images(_MAX_PIXELS.value)
    batch_sizes = _read_batch_sizes()
    target.check(str(_OUT.value), overwrite=_OVERWRITE.value)
    presence.require(
        _CHECKPOINT.value or _MODEL_DIR.value,
        "--checkpoint=" if _CHECKPOINT.value else "--model_dir=",
    )
    # Nothing that takes long is imported before the user's input is checked.
    native_logs.load_tensorflow()
    with native_logs.hide_routine():
        from deeplab2_like.exports import saved_model

    report = progress.Progress()
    saved_model.export(
        _MODEL_DIR.value,
        _OUT.value,
        saved_model.ExportOptions(
            canvas=_CANVAS_SIZE.value,
            max_pixels=_MAX_PIXELS.value,
            jit_compile=_JIT_COMPILE_VALUES[_JIT_COMPILE.value],
            writes_warmup=_WARMUP.value,
            overwrite=_OVERWRITE.value,
            folds_batch_norms=_FOLD_BATCH_NORMS.value,
            has_compact=_COMPACT.value,
            has_overlay=_OVERLAY.value,
            weights=_WEIGHTS.value,
            batch_sizes=batch_sizes,
            has_tile_function=_TILE_FUNCTION.value,
        ),
        config=config,
        checkpoint=_CHECKPOINT.value,
        images=images,
        report=report,
    )
    _report(_OUT.value, report)


def _report(out: str, report: progress.Progress) -> None:
    files = (file for file in pathlib.Path(out).rglob("*") if file.is_file())
    size = sum(file.stat().st_size for file in files)
    report.log(f"Exported to {out} ({size / 1e6:.1f} MB).")
    report.log(f"How to load and serve it: {out}/README.md.")
    report.log("Next, on images of your own:")
    quoted = shlex.quote(out)
    report.log(
        f"  deeplab2-predict --model={quoted} IMAGE... --out=predictions"
    )


def cli() -> None:
    """Exports a run as a SavedModel (console command deeplab2-export)."""
    program.run(_main, _FLAGS)


if __name__ == "__main__":
    cli()
