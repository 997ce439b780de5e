# SPDX-License-Identifier: Apache-2.0
"""Predicts an image larger than memory, tile by tile and band by band.

In reading order: `predict_large`; the network on tiles, `predict_tiles`; the
post-processing of the whole image, `_segment`. Rules: docs/large_images.md.
"""

import concurrent.futures
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from deeplab2_like.console import progress, version
from deeplab2_like.large_images import bands as bands_lib
from deeplab2_like.large_images import (
    blending,
    damage,
    grouping,
    network,
    objects,
    overlap,
    peaks,
    scaled,
    segmenting,
    tile_segments,
    validity,
    work_folder,
)
from deeplab2_like.large_images import options as options_lib
from deeplab2_like.large_images import parts as parts_lib
from deeplab2_like.large_images import tiling as tiling_lib
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.result import LargeResult, Segments
from deeplab2_like.large_images.source import Box, LargeImage, Window
from deeplab2_like.postprocess.options import PixelRules
from deeplab2_like.storage import in_order, json_files

_FORMAT = 1
_CENTERS, _SEGMENTS = "centers.npz", "segments.npz"


def predict_large(
    model: network.TileModel,
    image: LargeImage,
    options: LargeOptions,
    work: str | os.PathLike[str],
    report: progress.Progress,
    *,
    parts: Sequence[pathlib.Path] = (),
    owner: Any = None,
) -> LargeResult:
    """Predicts the segments of an image of any size as one.

    The result is that of the post-processing of the whole image on head
    outputs that are blended from tiles; see docs/large_images.md.

    Args:
        model: The model.
        image: The image.
        options: Tiles and bands.
        work: Folder of the work files, see `work_folder`. The same call goes
            on with what is there. The result reads them; `work_folder.clear`
            deletes them.
        report: Display of the progress.
        parts: Folders of parts whose tiles are taken over, see `parts.adopt`.
        owner: What deletes the work files when the result is not used any
            more.

    Raises:
        ConfigError: The tiles do not fit the model.
        DataError: The image cannot be read, the folder holds other files, or
            a part is of another prediction.
    """
    task = _Task.open(model, image, options, work, report)
    for path in parts:
        parts_lib.adopt(task.folder, path)
    if model.system.pixel_rules is not None:
        result = task.predict_pixels(model.system.pixel_rules, owner)
    else:
        result = task.predict_objects(owner)
    if isinstance(task.image, scaled.ScaledImage):
        return scaled.restore(result, task.image)
    return result


def predict_part(
    model: network.TileModel,
    image: LargeImage,
    options: LargeOptions,
    work: str | os.PathLike[str],
    part: parts_lib.Part,
    report: progress.Progress,
) -> None:
    """Runs the network on a part of the tiles, and stores its outputs.

    Several programs, on one or several machines, do so for the parts of an
    image; then `predict_large` takes them over.

    Args:
        model: See `predict_large`, as for all others, and for errors.
        image: The image.
        options: Tiles and bands.
        work: Folder of the work files of this part.
        part: The part.
        report: Display of the progress.
    """
    task = _Task.open(model, image, options, work, report, part)
    if model.system.pixel_rules is not None:
        task.predict_tiles()
    else:
        task.segment_tiles()


def _plan(
    model: network.TileModel, image: LargeImage, options: LargeOptions
) -> dict[str, Any]:
    """Returns what the work files are for."""
    return {
        "format": _FORMAT,
        "version": version.VERSION,
        "model": model.fingerprint,
        "image": json_files.to_plain(dataclasses.asdict(image.describe())),
        "size": [image.height, image.width],
        **dataclasses.asdict(image.reading),
        "options": dataclasses.asdict(options),
    }


@dataclasses.dataclass(frozen=True)
class _Task:
    """The prediction of an image."""

    model: network.TileModel
    image: LargeImage
    options: LargeOptions
    net: network.TileNetwork
    folder: work_folder.WorkFolder
    report: progress.Progress
    part: parts_lib.Part

    @classmethod
    def open(
        cls,
        model: network.TileModel,
        image: LargeImage,
        options: LargeOptions,
        work: str | os.PathLike[str],
        report: progress.Progress,
        part: parts_lib.Part = parts_lib.WHOLE,
    ) -> Self:
        """Opens the work files; see `predict_large`."""
        factor = model.preprocessing.input_scale_factor
        if factor != 1:
            image = scaled.ScaledImage(image, factor)
        net = network.TileNetwork(model, options)
        folder = work_folder.WorkFolder(work, _plan(model, image, options))
        return cls(model, image, options, net, folder, report, part)

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.image.height, self.image.width

    def predict_pixels(self, rules: PixelRules, owner: Any) -> LargeResult:
        """Predicts with a system whose outputs are maps."""
        tiling = self.predict_tiles()
        if not self.folder.has(_SEGMENTS):
            self._segment(tiling, rules)
        self.folder.delete("tiles/*.heads", "bands/*.packed.f4", "bands/*.npz")
        return self._load(tiling, owner)

    def predict_objects(self, owner: Any) -> LargeResult:
        """Predicts with a system that finds objects in each tile."""
        tiling, limit = self.segment_tiles()
        if not self.folder.has(_SEGMENTS):
            self._merge(tiling, limit)
        self.folder.delete("tiles/*.parts*", "bands/*.npz")
        return self._load(tiling, owner)

    def _find_overlap(self) -> int:
        """Returns the overlap that was measured, now or earlier."""
        pixels = self.folder.recall("overlap")
        if pixels is None:
            pixels = overlap.measure(self.net, self.image)
            self.folder.note("overlap", pixels)
        return int(pixels)

    def _make_tiling(self, pixels: int) -> tiling_lib.Tiling:
        """Makes the tiles, with this overlap unless another one is given."""
        is_given = self.options.overlap is not None
        if self.options.overlap is not None:
            pixels = self.options.overlap
        tiling = tiling_lib.make_tiling(
            self.size,
            self.net.tile,
            pixels,
            self.net.stride,
            self.net.remainder,
        )
        if len(tiling) > 1 and not self.folder.has(_SEGMENTS):
            how = "as given" if is_given else options_lib.AUTO
            self.report.log(
                f"{len(tiling)} tiles of {self.net.tile} x {self.net.tile} "
                f"pixels that share {pixels} or more ({how})"
            )
        return tiling

    def predict_tiles(self) -> tiling_lib.Tiling:
        """Runs the network on the tiles that are not done; returns all."""
        is_given = self.options.overlap is not None
        tiling = self._make_tiling(0 if is_given else self._find_overlap())

        def predict(index: int, window: Window) -> None:
            maps = self.net.infer_maps(window.image)
            self.folder.note_once(
                "heads", dataclasses.asdict(work_folder.HeadShape.of(maps))
            )
            self.folder.write_tile(index, maps)

        self._visit_tiles(tiling, self.folder.has_tile, predict)
        return tiling

    def segment_tiles(self) -> tuple[tiling_lib.Tiling, int]:
        """Segments the tiles that are not done.

        Returns:
            All tiles, and the least area of stuff.
        """
        tiling = self._make_tiling(
            tile_segments.choose_overlap(
                self.net.tile, self.net.stride, self.net.remainder
            )
        )
        segmenter = tile_segments.TileSegmenter(
            self.model.system, self.net.tile
        )

        def segment(index: int, window: Window) -> None:
            height, width = window.image.shape[:2]
            outputs = self.net.infer(window.image)
            found = segmenter.segment(outputs, (height, width))
            tile_segments.write_tile(self.folder, index, *found)

        is_done = functools.partial(tile_segments.has_tile, self.folder)
        self._visit_tiles(tiling, is_done, segment)
        return tiling, segmenter.stuff_area_limit

    def _visit_tiles(
        self,
        tiling: tiling_lib.Tiling,
        is_done: Callable[[int], bool],
        visit: Callable[[int, Window], None],
    ) -> None:
        """Reads the tiles that are not done, and calls a function with each."""
        if self.folder.has(_SEGMENTS):
            return
        numbers = self.part.tiles(len(tiling))
        left = [index for index in numbers if not is_done(index)]
        done = len(numbers) - len(left)
        with (
            self.report.phase(
                "Predicting tiles", len(numbers), start=done, unit="tiles"
            ) as phase,
            # The next tile is read while the network runs.
            concurrent.futures.ThreadPoolExecutor(1) as executor,
        ):
            windows = in_order.call(
                executor,
                lambda i: network.read_tile(self.image, tiling.box(i)),
                left,
                ahead=1,
            )
            for index, window in zip(left, windows, strict=True):
                self.folder.note_damage(index, window.damaged, window.void)
                visit(index, window)
                done += 1
                phase.advance(done)

    def _merge(self, tiling: tiling_lib.Tiling, limit: int) -> None:
        """Merges the objects of all tiles."""
        parts = objects.Parts.load(self.folder, len(tiling))
        tiles = objects.Tiles(tiling, self.folder, parts.first)
        root, num_merged = objects.merge(tiles, parts, self.folder, self.report)
        found = objects.Objects.number(
            parts, root, self.model.system.descriptor.num_classes
        )
        table, pixels = objects.join(
            tiles,
            found,
            self._find_valid(tiling),
            self._cut(1),
            self.folder,
            self.report,
        )
        score = objects.average_scores(parts, found, pixels)
        segments, slot_id = objects.name_segments(table, found, score, limit)
        self._save(segments, slot_id, 1, num_merged)

    def _find_valid(self, tiling: tiling_lib.Tiling) -> validity.ValidPixels:
        return validity.ValidPixels(
            self.size, self._list_damage(tiling), self._find_void(tiling)
        )

    def _list_damage(self, tiling: tiling_lib.Tiling) -> list[Box]:
        return damage.unite(
            box
            for index in range(len(tiling))
            for box in self.folder.read_damage(index)
        )

    def _find_void(self, tiling: tiling_lib.Tiling) -> dict[Box, validity.Rows]:
        """Finds the tiles with pixels that have no value."""
        return {
            box: functools.partial(
                self.folder.read_void, index, box.right - box.left
            )
            for index, box in enumerate(tiling.boxes())
            if self.folder.has_void(index)
        }

    def _cut(self, stride: int) -> bands_lib.Bands:
        return bands_lib.cut(
            *self.size, stride=stride, band_pixels=self.options.band_pixels
        )

    def _segment(self, tiling: tiling_lib.Tiling, rules: PixelRules) -> None:
        """Finds the segments in the head outputs of all tiles."""
        shape = work_folder.HeadShape(**self.folder.recall("heads"))
        stride = (self.net.tile - 1) // (shape.height - 1)
        maps = blending.HeadMaps(tiling, self.folder, shape, stride)
        bands = self._cut(stride)
        valid = self._find_valid(tiling)
        centers = None
        if rules.centers is not None:
            if not self.folder.has(_CENTERS):
                limit = peaks.scale_limit(
                    rules.centers.limit, self.size, self.net.tile
                )
                found = peaks.find_centers(
                    maps, bands, valid, rules.centers, limit, self.report
                )
                self.folder.write_table(_CENTERS, found.as_dict())
            centers = peaks.Centers(**self.folder.read_table(_CENTERS))
        parts = grouping.Parts(
            maps,
            bands,
            valid,
            self.size[1],
            self.folder,
            rules.classes,
            centers,
        )
        table = grouping.group(parts, self.report)
        slot_category = segmenting.choose_classes(table, parts.num_instances)
        named = segmenting.name_segments(
            table,
            slot_category,
            grouping.correct_sums(parts, slot_category, self.report),
            None if centers is None else centers.score,
            rules.classes,
        )
        self._save(named.segments, named.slot_id, stride, 0)

    def _save(
        self,
        segments: Segments,
        slot_id: npt.NDArray[np.uint32],
        stride: int,
        num_merged: int,
    ) -> None:
        """Writes the table, after which all is done."""
        more = {"stride": np.array(stride), "merged": np.array(num_merged)}
        columns = dataclasses.asdict(segments)
        self.folder.write_table(
            _SEGMENTS, {**columns, "slot_id": slot_id, **more}
        )

    def _load(self, tiling: tiling_lib.Tiling, owner: Any) -> LargeResult:
        """Returns the result in the work files."""
        columns = self.folder.read_table(_SEGMENTS)
        slot_id = columns.pop("slot_id")
        num_merged = int(columns.pop("merged"))
        bands = self._cut(int(columns.pop("stride")))
        labels = segmenting.FileLabels(
            self.folder, bands, self.size[1], slot_id, owner
        )
        return LargeResult(
            labels,
            Segments(**columns),
            damage.describe(self.image, self._list_damage(tiling)),
            num_merged,
        )
