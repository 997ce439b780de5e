# SPDX-License-Identifier: Apache-2.0
"""Predicts the slices of a volume and links them to one label volume.

With --consensus slices are predicted in three directions, for which the volume
and the labels of each direction lie in temporary files of 2 (6 for RGB) + 12
bytes a voxel. In memory are always one slice, the masks of its objects, and
what the tracks of two directions share. All files are laid out so that the rows
of a slice that is read or written are in one piece: the volume has a second
file for yz, whose columns are pages apart in the first.
"""

import contextlib
import functools
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.metrics import overlaps, tube_overlaps
from deeplab2_like.predict import links, stack_pixels
from deeplab2_like.predict.result_folder import (
    PANOPTIC_ENDING,
    Item,
    ResultFolder,
)
from deeplab2_like.predict.running import Run
from deeplab2_like.results import tracks_json
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import file_identity, image_files, volumes
from deeplab2_like.storage.file_identity import Source
from deeplab2_like.tracking import consensus
from deeplab2_like.tracking.consensus import Part

# Planes of the slices; the axis along which they follow is the place here.
DIRECTIONS = ("xy", "xz", "yz")
_RAW, _TURNED_RAW = "volume.raw", "volume.yz.raw"
# Numbers of slices of each direction in `Source.part`.
_MAX_SLICES = 1 << 32


def predict_stack(file: image_files.ImageFile, run: Run) -> None:
    """Predicts a stack and writes its label volume and its tracks.

    Slices are stored until the stack is complete, so that a run that was killed
    predicts none again.

    Args:
        file: The stack.
        run: The model, the options and the folder of results.

    Raises:
        DataError: The file is no stack, or its results would replace other
            files.
        InstallError: The package for its kind is not installed.
    """
    path = os.fspath(file.path)
    suffix = pathlib.PurePath(path).suffix.lower()
    is_zarr = suffix == volumes.ZARR_SUFFIX
    labels = f"{file.name}.labels{suffix if is_zarr else '.tif'}"
    tracks = links.name_file(file.name)
    journal, results = run.results.journal, run.results
    source = file_identity.describe(path)
    if journal.find(file.name, source):
        for number, problem in journal.read(file.name)["problems"]:
            run.leave_out(f"{source.path}#{number}", problem)
    else:
        journal.require_free(file.name, [labels, tracks])
        with volumes.open_volume(path) as volume:
            stack = _Stack(file, source, volume, run)
            stack.write(labels, tracks)
        written = f"{labels}/zarr.json" if is_zarr else labels
        journal.complete(
            file.name, source, [written, tracks], {"problems": stack.problems}
        )
    _clear(file.name, results)  # Also what a kill behind the last line left.
    results.tracks.append(tracks)
    results.volumes.append(labels)


def _name_hidden(name: str) -> str:
    """Names the folder of the stored slices, below the results."""
    path = pathlib.PurePosixPath(name)
    return path.with_name(f".{path.name}.slices").as_posix()


def _clear(name: str, results: ResultFolder) -> None:
    """Deletes the stored slices and the temporary files of a stack, if any."""
    hidden = _name_hidden(name)
    folder = results.folder / hidden
    if not folder.is_dir():
        return
    for item in results.journal.list_below(f"{hidden}/"):
        (results.folder / (item + PANOPTIC_ENDING)).unlink(missing_ok=True)
    for file in (_RAW, _TURNED_RAW, *(f"{d}.labels" for d in DIRECTIONS)):
        (folder / file).unlink(missing_ok=True)
    for empty in (*(folder / d for d in DIRECTIONS), folder):
        with contextlib.suppress(OSError):
            os.rmdir(empty)


class _Stack:
    """A stack that is predicted.

    Attributes:
        problems: Number and problem of each slice that cannot be read.
    """

    def __init__(
        self,
        file: image_files.ImageFile,
        source: Source,
        volume: volumes.Volume,
        run: Run,
    ):
        """Checks the size of the slices; writes nothing."""
        self._file, self._source = file, source
        self._volume, self._run = volume, run
        self._shape = volume.shape
        self.problems: list[tuple[int, str]] = []
        # Slices of the volume that cannot be read.
        self._damaged: set[int] = set()
        self._hidden = _name_hidden(file.name)
        self._folder = run.results.folder / self._hidden
        self._is_three = run.options.consensus
        depth, height, width = self._shape
        largest = height * width
        if self._is_three:
            largest = max(largest, depth * height, depth * width)
        if largest > run.max_pixels:
            raise errors.DataError(
                f"The slices of {file.path} have up to {largest} pixels. The "
                f"limit is {run.max_pixels}: reduce them, or export the model "
                "with a higher --max_pixels."
            )
        # Last, as it may read all slices.
        self._pixels = stack_pixels.PixelValues(
            volume, run.options.value_range, run.report.log
        )

    def write(self, labels: str, tracks: str) -> None:
        """Predicts the slices and writes both files."""
        results = self._run.results
        results.journal.begin(self._file.name)
        count = sum(self._shape) if self._is_three else self._shape[0]
        (results.folder / labels).parent.mkdir(parents=True, exist_ok=True)
        with self._run.report.phase(
            f"Predicting {self._file.relative_path}", count, unit="slices"
        ) as phase:
            if self._is_three:
                slices = self._write_three(tracks, phase.advance)
            else:
                slices = self._write_one(phase.advance)
            volumes.write_labels(results.folder / labels, slices, self._shape)

    def _write_one(self, advance: Any) -> Iterator[npt.NDArray[Any]]:
        """Yields the labels of the slices as they are stored."""
        linked = links.Links(
            self._file.name,
            self._file.relative_path,
            self._run,
            source=self._source,
            is_listed=False,
        )
        empty = np.zeros(self._shape[1:], np.uint32)
        with linked:
            for number in range(self._shape[0]):
                found = self._add(linked, 0, number, self._read)
                yield empty if found is None else found.segmentation
                advance(number + 1)
        self._require_slices(self._shape[0])

    def _add(
        self, linked: links.Links, axis: int, number: int, load: Any
    ) -> PanopticResult | None:
        """Predicts and links a slice; None where it cannot be read."""
        name = f"{self._hidden}/{DIRECTIONS[axis]}/{number:06d}"
        item = Item(
            name,
            f"{self._file.relative_path}/{DIRECTIONS[axis]}/{number:06d}",
            self._source.of_part(axis * _MAX_SLICES + number),
            lambda: load(number),
            facts={"stack": self._file.relative_path, "slice": number},
            has_overlay=False,
            is_listed=False,
        )
        try:
            return linked.add(item, number)
        except links.FrameError as error:
            self._leave_out(number, str(error))
            return None

    def _leave_out(self, number: int, problem: str) -> None:
        self.problems.append((number, problem))
        self._run.leave_out(f"{self._source.path}#{number}", problem)

    def _require_slices(self, count: int) -> None:
        if len(self.problems) >= count:
            raise errors.DataError(self.problems[0][1])

    def _read(self, number: int) -> npt.NDArray[np.uint8]:
        return self._pixels.to_rgb(self._volume.read(number))

    def _write_three(
        self, tracks: str, advance: Any
    ) -> Iterator[npt.NDArray[Any]]:
        """Yields the labels that the directions agree upon."""
        self._folder.mkdir(parents=True, exist_ok=True)
        pixels = self._copy()
        maps: list[npt.NDArray[np.uint32]] = []
        parts: list[dict[int, Part]] = []
        scores: list[_Scores] = []
        done = 0
        for axis, direction in enumerate(DIRECTIONS):
            linked = links.Links(None, "", self._run, source=self._source)
            target = np.memmap(
                self._folder / f"{direction}.labels",
                np.uint32,
                "w+",
                shape=pixels[axis].shape[:3],
            )
            known = _Scores()
            load = functools.partial(stack_pixels.load_plane, pixels[axis])
            with linked:
                for number in range(self._shape[axis]):
                    found = None
                    if axis == 0 and number in self._damaged:
                        linked.skip()
                    else:
                        found = self._add(linked, axis, number, load)
                    if found is not None:
                        target[number] = found.segmentation
                        known.add(found)
                    done += 1
                    advance(done)
            maps.append(np.moveaxis(target, 0, axis))
            parts.append(known.parts)
            scores.append(known)
        yield from self._agree(maps, parts, scores, tracks)

    def _copy(self) -> list[npt.NDArray[np.uint8]]:
        """Copies the volume to files; returns the planes of each direction."""
        colors = () if self._volume.channels == 1 else (3,)
        depth, height, width = self._shape
        copy = np.memmap(
            self._folder / _RAW, np.uint8, "w+", shape=(*self._shape, *colors)
        )
        turned = np.memmap(
            self._folder / _TURNED_RAW,
            np.uint8,
            "w+",
            shape=(width, depth, height, *colors),
        )
        for number in range(depth):
            try:
                values = self._pixels.convert(self._volume.read(number))
            except errors.DataError as error:
                self._leave_out(number, str(error))
                self._damaged.add(number)
                continue
            copy[number] = values
            turned[:, number] = np.swapaxes(values, 0, 1)
        self._require_slices(depth)
        return [copy, np.moveaxis(copy, 1, 0), turned]

    def _agree(
        self,
        maps: list[npt.NDArray[np.uint32]],
        parts: list[dict[int, Part]],
        scores: list["_Scores"],
        tracks: str,
    ) -> Iterator[npt.NDArray[Any]]:
        sums = [tube_overlaps.OverlapSum() for _ in consensus.PAIRS]
        for number in range(self._shape[0]):
            for total, (first, second) in zip(
                sums, consensus.PAIRS, strict=True
            ):
                total.add(
                    overlaps.compute_overlaps(
                        np.array(maps[first][number]),
                        np.array(maps[second][number]),
                    )
                )
        clusters = consensus.find_clusters(
            parts,
            [total.result() for total in sums],
            min_iou=self._run.options.consensus_iou,
        )
        tables = consensus.make_tables(
            clusters, [max(found, default=0) for found in parts]
        )
        infos = [_describe(c, scores, self._run) for c in clusters]
        writer = tracks_json.TracksWriter(
            self._run.results.folder / tracks,
            self._run.descriptor,
            self._file.relative_path,
        )
        with writer:
            for number in range(self._shape[0]):
                ids_hw = consensus.vote([m[number] for m in maps], tables)
                if number in self._damaged:
                    ids_hw[:] = 0
                writer.add(number, {}, _to_result(ids_hw, infos))
                yield ids_hw


class _Scores:
    """The classes and mean scores of tracks.

    Attributes:
        parts: Class of each track.
    """

    def __init__(self) -> None:
        """Begins without segments."""
        self.parts: dict[int, Part] = {}
        self._sums: dict[int, tuple[float, int]] = {}

    def add(self, result: PanopticResult) -> None:
        """Adds the segments of a slice."""
        for info in result.segments_info:
            total, count = self._sums.get(info["id"], (0.0, 0))
            self._sums[info["id"]] = (total + info["score"], count + 1)
            self.parts[info["id"]] = Part(info["label_id"], info["isthing"])

    def mean(self, track: int) -> float:
        """Returns the mean score of a track."""
        total, count = self._sums[track]
        return total / count


def _describe(
    cluster: consensus.Cluster, scores: list[_Scores], run: Run
) -> dict[str, Any]:
    """Returns what all slices say of a segment."""
    found = [
        known.mean(track)
        for known, track in zip(scores, cluster.members, strict=True)
        if track
    ]
    class_id, dataset = cluster.part.category, run.descriptor
    return {
        "label_id": class_id,
        "category_id": int(dataset.category_ids[class_id]),
        "category_name": dataset.class_names[class_id],
        "score": sum(found) / len(found),
        "isthing": cluster.part.is_object,
        "was_fused": not cluster.part.is_object,
        "iscrowd": 0,
    }


def _to_result(
    ids_hw: npt.NDArray[np.uint32], infos: list[dict[str, Any]]
) -> PanopticResult:
    """Returns a slice of the volume as a result."""
    segments = [
        {"id": number, **infos[number - 1], "area": area, "bbox": box}
        for number, (area, box) in consensus.count_segments(ids_hw).items()
    ]
    return PanopticResult(ids_hw.astype(np.int32), segments)
