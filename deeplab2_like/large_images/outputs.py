# SPDX-License-Identifier: Apache-2.0
"""The files of a large result: which there are, their names, their writing."""

import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from deeplab2_like import errors
from deeplab2_like.console import progress as progress_lib
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.large_images import (
    label_files,
    overlay_files,
    segment_table,
    vector_files,
)
from deeplab2_like.large_images.result import LargeResult
from deeplab2_like.large_images.source import LargeImage
from deeplab2_like.rasters.chunks import EXTRA
from deeplab2_like.storage import (
    optional_packages,
    tiff_files,
    zarr_folders,
)

LABELS, TABLE, PARQUET = "labels", "table", "parquet"
GEOJSON, COCO, OVERLAY = "geojson", "coco", "overlay"
KINDS = (LABELS, TABLE, PARQUET, GEOJSON, COCO, OVERLAY)
DEFAULT_KINDS = (LABELS, TABLE, OVERLAY)
_ENDINGS = {
    TABLE: ".segments.json",
    PARQUET: ".segments.parquet",
    GEOJSON: ".geojson",
    COCO: ".coco.json",
    OVERLAY: ".overlay.tif",
}
_TIFF_LABELS = ".labels.tif"
_ZARR_LABELS = f".labels{zarr_folders.SUFFIX}"


def check_kinds(kinds: Sequence[str]) -> None:
    """Checks what is to be written.

    Raises:
        ConfigError: There is nothing, or a kind that does not exist.
    """
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown or not kinds:
        raise errors.ConfigError(
            f"--large_outputs={','.join(kinds)} must name some of "
            f"{', '.join(KINDS)}, for example "
            f"--large_outputs={','.join(DEFAULT_KINDS)}."
        )


def name_files(
    name: str, kinds: Sequence[str], image_path: str | os.PathLike[str]
) -> dict[str, str]:
    """Names the files of an image, by kind.

    Args:
        name: Name of its results, a path below their folder.
        kinds: What is written, of `KINDS`.
        image_path: The image; labels of a Zarr folder are one too.
    """
    is_zarr = zarr_folders.is_zarr(image_path)
    endings = {
        LABELS: _ZARR_LABELS if is_zarr else _TIFF_LABELS,
        **_ENDINGS,
    }
    return {kind: name + endings[kind] for kind in KINDS if kind in kinds}


def require_packages(
    kinds: Iterable[str], image_path: str | os.PathLike[str]
) -> None:
    """Checks that the files of an image can be written.

    Raises:
        InstallError: A package is not installed.
    """
    if zarr_folders.is_zarr(image_path):
        optional_packages.load("zarr", "Zarr folders", EXTRA)
    elif LABELS in kinds:
        tiff_files.load_tifffile("Label maps of large images", EXTRA)
    if OVERLAY in kinds:
        tiff_files.load_tifffile("Overlays of large images", EXTRA)
    if PARQUET in kinds:
        segment_table.load_pyarrow()


def write_outputs(
    result: LargeResult,
    image: LargeImage,
    folder: str | os.PathLike[str],
    name: str,
    kinds: Sequence[str],
    descriptor: DatasetDescriptor,
    report: progress_lib.Progress,
) -> list[str]:
    """Writes the files of a result, each completely or not at all.

    Args:
        result: The segments.
        image: The image, which is read again for the overlay.
        folder: Folder of the results.
        name: Name of the image's results, a path below it.
        kinds: What is written, of `KINDS`.
        descriptor: The data set of the model.
        report: Display of the progress.

    Returns:
        Paths of the files below the folder; of a Zarr folder its attributes.

    Raises:
        InstallError: A package is not installed; see `require_packages`.
    """
    return _Writer(result, image, folder, descriptor, report).write(
        name_files(name, kinds, image.path)
    )


class _Writer:
    """Writes the files of one result."""

    def __init__(
        self,
        result: LargeResult,
        image: LargeImage,
        folder: str | os.PathLike[str],
        descriptor: DatasetDescriptor,
        report: progress_lib.Progress,
    ):
        """Stores what is written."""
        self._result, self._image = result, image
        self._folder = pathlib.Path(folder)
        self._descriptor, self._report = descriptor, report
        self._base = os.path.basename(os.path.abspath(image.path))

    def write(self, names: Mapping[str, str]) -> list[str]:
        """Writes files by kind; returns what is on the disk."""
        written = []
        for path in names.values():
            (self._folder / path).parent.mkdir(parents=True, exist_ok=True)
        if LABELS in names:
            written.append(self._write_labels(names[LABELS]))
        if TABLE in names:
            segment_table.write_json_table(
                self._folder / names[TABLE],
                self._result.segments,
                self._descriptor,
                (self._image.height, self._image.width),
                self._base,
            )
            written.append(names[TABLE])
        if PARQUET in names:
            segment_table.write_parquet_table(
                self._folder / names[PARQUET],
                self._result.segments,
                self._descriptor,
            )
            written.append(names[PARQUET])
        written += self._write_outlines(names)
        if OVERLAY in names:
            with self._phase("overlay") as phase:
                overlay_files.write_overlay(
                    self._folder / names[OVERLAY],
                    self._image,
                    self._result,
                    self._descriptor,
                    advance=phase.advance,
                )
            written.append(names[OVERLAY])
        return written

    def _phase(self, what: str) -> Any:
        return self._report.phase(
            f"Writing {what} of {self._base}", self._image.height, unit="rows"
        )

    def _write_labels(self, name: str) -> str:
        path = self._folder / name
        with self._phase("labels") as phase:
            if not name.endswith(zarr_folders.SUFFIX):
                label_files.write_label_tiff(
                    path,
                    self._result.labels,
                    place=self._image.place,
                    advance=phase.advance,
                )
                return name
            zarr_format = zarr_folders.read_format(self._image.path)
            source = os.path.relpath(self._image.path, path)
            label_files.write_label_zarr(
                path,
                self._result.labels,
                scale=self._image.place.scale,
                zarr_format=zarr_format,
                image_label={
                    "source": {"image": pathlib.Path(source).as_posix()}
                },
                advance=phase.advance,
            )
        attributes = "zarr.json" if zarr_format == 3 else ".zattrs"
        return f"{name}/{attributes}"

    def _write_outlines(self, names: Mapping[str, str]) -> list[str]:
        chosen = {
            kind: names[kind] for kind in (GEOJSON, COCO) if kind in names
        }
        if not chosen:
            return []
        paths = {kind: self._folder / name for kind, name in chosen.items()}
        with self._phase("outlines") as phase:
            vector_files.write_outlines(
                self._result,
                self._descriptor,
                self._base,
                geojson_path=paths.get(GEOJSON),
                coco_path=paths.get(COCO),
                georeference=self._image.place.georeference,
                advance=phase.advance,
            )
        return list(chosen.values())
