# SPDX-License-Identifier: Apache-2.0
"""Predicts an image of any size in tiles, and writes its results.

Work files lie in a hidden folder of the results until all is written, so that a
run that was killed goes on where it was.
"""

import contextlib
import os
import pathlib

from deeplab2_like.console import progress
from deeplab2_like.large_images import outputs, work_folder
from deeplab2_like.large_images import parts as parts_lib
from deeplab2_like.predict.options import PredictOptions
from deeplab2_like.predict.running import Run
from deeplab2_like.rasters import opening
from deeplab2_like.rasters.chunked_image import ChunkedImage
from deeplab2_like.storage import file_identity, image_files


def predict_image(file: image_files.ImageFile, run: Run) -> None:
    """Predicts an image and writes the files that the options ask for.

    Args:
        file: The image: a file, or a folder of Zarr.
        run: The model, the options and the folder of results.

    Raises:
        ConfigError: The tiles do not fit the model.
        DataError: The file is no image, or its results would replace other
            files.
        InstallError: A package for its kind is not installed.
    """
    path = os.fspath(file.path)
    kinds = run.options.large_outputs
    journal, results = run.results.journal, run.results
    source = file_identity.describe(path)
    work = results.folder / _name_hidden(file.name)
    if not journal.find(file.name, source):
        names = outputs.name_files(file.name, kinds, path)
        journal.require_free(file.name, names.values())
        _predict_image(file, source, work, run)
    entry = journal.read(file.name)
    for problem in entry["problems"]:
        run.leave_out(source.path, problem)
    # Also what a kill behind the last line left, and parts that came too late.
    for folder in (work, *parts_lib.find_folders(work)):
        work_folder.clear(folder)
    with contextlib.suppress(OSError):
        work.rmdir()
    results.large += entry["files"]


def predict_part(
    file: image_files.ImageFile, run: Run, part: parts_lib.Part
) -> None:
    """Predicts a part of the tiles of an image, which is not complete yet.

    Args:
        file: The image.
        run: The model, the options and the folder of results, in which nothing
            else is written.
        part: The part.

    Raises:
        ConfigError: The tiles do not fit the model.
        DataError: The file is no image.
        InstallError: A package for its kind is not installed.
    """
    results, options = run.results, run.options
    source = file_identity.describe(os.fspath(file.path))
    if results.journal.find(file.name, source):
        run.report.log(f"{file.relative_path} was predicted earlier.")
        return
    work = part.name_folder(results.folder / _name_hidden(file.name))
    with _open(file, options, run.report) as image:
        run.model.predict_large_part(
            image, part, work, options.tile_options, report=run.report
        )


def _open(
    file: image_files.ImageFile,
    options: PredictOptions,
    report: progress.Progress,
) -> ChunkedImage:
    image = opening.open_large(
        file.path,
        value_range=options.value_range,
        channels=options.channels,
        upright=options.exif == "apply",
        log=report.log,
    )
    report.log(f"{file.relative_path}: {image.width} x {image.height} pixels")
    return image


def _name_hidden(name: str) -> str:
    """Names the folder of the work files, below the results."""
    path = pathlib.PurePosixPath(name)
    return path.with_name(f".{path.name}.tiles").as_posix()


def _predict_image(
    file: image_files.ImageFile,
    source: file_identity.Source,
    work: pathlib.Path,
    run: Run,
) -> None:
    """Predicts an image, writes its files and notes them."""
    options, report = run.options, run.report
    with _open(file, options, report) as image:
        model, journal = run.model, run.results.journal
        journal.begin(file.name)  # From now on no other program writes here.
        if not journal.existed:
            work_folder.clear(work)  # As --overwrite predicts all again.
        result = model.predict_large(
            image,
            options.tile_options,
            work_folder=work,
            parts=parts_lib.find_folders(work),
            report=report,
        )
        things = int(result.segments.is_thing.sum())
        report.log(
            f"{things} objects and {len(result.segments) - things} other "
            "segments"
            + (f", {result.num_merged} parts merged" * bool(result.num_merged))
        )
        written = outputs.write_outputs(
            result,
            image,
            run.results.folder,
            file.name,
            options.large_outputs,
            run.descriptor,
            report,
        )
    journal.complete(
        file.name,
        source,
        written,
        {
            "image": {
                "file_name": file.relative_path,
                "height": image.height,
                "width": image.width,
            },
            "num_segments": len(result.segments),
            "num_merged": result.num_merged,
            "problems": list(result.problems),
        },
    )
