# SPDX-License-Identifier: Apache-2.0
"""Pictures of what the network will see in training, without training.

`check_folder` and `preview` are for programs; `make_crops` needs TensorFlow,
which is imported only there.
"""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, PngImagePlugin

from deeplab2_like import errors
from deeplab2_like.config import Config
from deeplab2_like.console import native_logs, progress
from deeplab2_like.data.large import lists
from deeplab2_like.labels import descriptor as descriptor_lib
from deeplab2_like.storage import any_files, whole_files
from deeplab2_like.visualize import training_crops

FOLDER = "preview"
SHEET = "sheet.png"
MAX_COUNT = 1000
_KEY, _SIGN = "Software", "deeplab2-train --preview"


def check_folder(folder: pathlib.Path) -> list[pathlib.Path]:
    """Checks that pictures may be written to a folder; changes nothing.

    Args:
        folder: The folder, which need not exist.

    Returns:
        Pictures of an earlier preview in it, which are replaced.

    Raises:
        errors.ConfigError: It is a file, or contains anything else.
    """
    if folder.exists() and not folder.is_dir():
        raise errors.ConfigError(
            f"{folder} is a file. Give a folder with --out."
        )
    found = sorted(folder.iterdir()) if folder.is_dir() else []
    others = [path.name for path in found if not _is_ours(path)]
    if others:
        shown = ", ".join(others[:4]) + (", ..." if len(others) > 4 else "")
        raise errors.ConfigError(
            f"{folder} holds files that no preview wrote ({shown}). Give "
            "another folder with --out."
        )
    return found


def _is_ours(path: pathlib.Path) -> bool:
    if path.suffix != ".png" or not path.is_file():
        return False
    try:
        with Image.open(path) as image:
            return image.info.get(_KEY) == _SIGN
    except Exception:  # No picture: decoders raise a dozen kinds.
        return False


def preview(
    config: Config,
    folder: str | os.PathLike[str],
    count: int,
    report: progress.Progress | None = None,
) -> list[pathlib.Path]:
    """Draws the first crops of a training, and a sheet of all of them.

    The crops are those of a deterministic training from step 0 with the
    config's seed, and such as any training draws. The pictures of an earlier
    preview in the folder are replaced.

    Args:
        config: The checked config.
        folder: Folder of the pictures; created.
        count: Number of crops, 1 to `MAX_COUNT`.
        report: Display of the progress; on standard error when None.

    Returns:
        Paths of the pictures, the sheet last.

    Raises:
        UserError: There is a problem that the user can fix.
    """
    if not 1 <= count <= MAX_COUNT:
        raise errors.ConfigError(
            f"--preview={count} must be a number of crops in [1, {MAX_COUNT}]."
        )
    if any_files.is_remote(folder):
        raise errors.ConfigError(
            f"{os.fspath(folder)} is an address, and pictures are written to a "
            "folder of this machine. Give one with --out."
        )
    folder = pathlib.Path(folder)
    check_folder(folder)
    config.require_filled("train_dataset_options")
    options = config.options.train_dataset_options
    lists.check_inputs(options.file_pattern)
    report = report or progress.Progress()
    native_logs.load_tensorflow()
    with native_logs.hide_routine():
        crops = make_crops(config, count, report)
    descriptor = descriptor_lib.load(options.dataset)
    written = []
    folder.mkdir(parents=True, exist_ok=True)
    digits = max(2, len(str(count)))
    for number, crop in enumerate(crops, 1):
        path = folder / f"crop_{number:0{digits}}.png"
        _write(path, training_crops.draw_crop(crop, descriptor))
        written.append(path)
    written.append(folder / SHEET)
    _write(written[-1], training_crops.draw_sheet(crops, descriptor))
    for path in set(check_folder(folder)) - set(written):
        path.unlink()
    return written


def _write(path: pathlib.Path, picture_hw3: np.ndarray) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text(_KEY, _SIGN)
    with whole_files.open_whole(path) as file:
        Image.fromarray(picture_hw3).save(file, format="PNG", pnginfo=info)


def make_crops(
    config: Config, count: int, report: progress.Progress
) -> Sequence[training_crops.TrainingCrop]:
    """Makes the first crops of a training, as the network gets them.

    Args:
        config: The checked config.
        count: Number of crops.
        report: Display of the progress.

    Raises:
        DataError: There are no records, or they are damaged.
    """
    import tensorflow as tf

    from deeplab2_like.data import build as data_build
    from deeplab2_like.data import damage, graph_errors, pipeline
    from deeplab2_like.meta_architectures import build as system_build
    from deeplab2_like.protos import dataset_pb2

    run_options = config.options
    system = system_build.build_system(
        run_options, descriptor_lib.load_of_run(run_options)
    )
    make_targets = system.target_maker(is_training=True)
    options = dataset_pb2.DatasetOptions()
    options.CopyFrom(run_options.train_dataset_options)
    options.batch_size = 1  # The order of the images is the same with any.
    dataset = data_build.build_training_dataset(
        options,
        system.descriptor,
        lambda panoptic: {"label": panoptic, "all": make_targets(panoptic)},
        pipeline.Reading(
            seed=run_options.trainer_options.seed,
            deterministic=True,
            damage=damage.DamageReport(report.log),
        ),
    )
    crops = []
    try:
        for batch in dataset.take(count).as_numpy_iterator():
            targets = tf.nest.map_structure(lambda t: t[0], batch["targets"])
            unpacked = system.unpack_targets(targets["all"])
            crops.append(
                training_crops.TrainingCrop(
                    name=batch["name"][0].decode("utf-8", "replace"),
                    image=np.rint(batch["image"][0]).astype(np.uint8),
                    panoptic=targets["label"],
                    targets={n: np.asarray(t) for n, t in unpacked.items()},
                )
            )
    except tf.errors.OpError as error:
        translated = graph_errors.as_data_error(error)
        if translated is None:
            raise
        raise translated from error
    return crops
