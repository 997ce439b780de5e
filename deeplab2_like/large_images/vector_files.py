# SPDX-License-Identifier: Apache-2.0
"""Writes the outlines of all segments, in one pass over the label map."""

import contextlib
import os
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.large_images import (
    coco_runs,
    corners,
    outlines,
    polygons,
    segment_table,
)
from deeplab2_like.large_images.result import LargeResult
from deeplab2_like.rasters.georeference import Georeference
from deeplab2_like.storage import whole_files


def write_outlines(
    result: LargeResult,
    descriptor: DatasetDescriptor,
    image_name: str,
    *,
    geojson_path: str | os.PathLike[str] | None = None,
    coco_path: str | os.PathLike[str] | None = None,
    georeference: Georeference | None = None,
    advance: Callable[[int], None] = lambda _: None,
) -> None:
    """Writes GeoJSON of all segments, COCO run lengths of the things, or both.

    In memory are a band of rows, the table, and the corners of segments that
    go on below the band.

    Args:
        result: The labels and their table.
        descriptor: The data set of the model.
        image_name: Name of the image.
        geojson_path: Path of the GeoJSON file; none is written when None.
        coco_path: Path of the COCO instances JSON; none is written when None.
        georeference: Where the image lies, for GeoJSON.
        advance: Function that is called with the number of rows that were
            read.
    """
    labels, segments = result.labels, result.segments
    known = segment_table.SegmentLookup(segments, descriptor)
    with contextlib.ExitStack() as stack:
        geojson = coco = None
        if geojson_path is not None:
            file = stack.enter_context(
                whole_files.open_whole(geojson_path, "w")
            )
            geojson = polygons.GeoJsonWriter(
                file, descriptor, image_name, georeference
            )
        if coco_path is not None:
            file = stack.enter_context(whole_files.open_whole(coco_path, "w"))
            coco = coco_runs.CocoRunsWriter(
                file, descriptor, image_name, (labels.height, labels.width)
            )
        # What was yielded of things that are cut into parts.
        cut: dict[int, list[npt.NDArray[np.int64]]] = {}
        for found in corners.stream_corners(labels, segments, advance=advance):
            if geojson is not None:
                _add_polygons(geojson, found, known)
            if coco is not None:
                _add_runs(coco, found, known, cut, labels.height)
        if coco is not None:
            for number, parts in cut.items():
                coco.add(known.find(number), parts)
        for writer in (geojson, coco):
            if writer is not None:
                writer.close()


def _add_polygons(
    geojson: polygons.GeoJsonWriter,
    found: corners.Complete,
    known: segment_table.SegmentLookup,
) -> None:
    for outline in outlines.trace(found.corners):
        number = int(found.id[outline.label])
        geojson.add(outline, known.find(number), int(found.part[outline.label]))


def _add_runs(
    coco: coco_runs.CocoRunsWriter,
    found: corners.Complete,
    known: segment_table.SegmentLookup,
    cut: dict[int, list[npt.NDArray[np.int64]]],
    height: int,
) -> None:
    ids = found.id[found.corners.label]
    things = found.corners.select(known.is_thing(ids))
    is_cut = {*found.id[found.part > 0].tolist()}
    for label, toggles in outlines.find_toggles(things, height):
        number = int(found.id[label])
        if number in is_cut:
            cut.setdefault(number, []).append(toggles)
        else:
            coco.add(known.find(number), [toggles])
