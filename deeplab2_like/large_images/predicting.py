# SPDX-License-Identifier: Apache-2.0
"""Predicts an image larger than memory, tile by tile and band by band.

In reading order: `predict_large`; the network on tiles, `_predict_tiles`; the
post-processing of the whole image, `_segment`. docs/large_images.md states the
rules, and what memory and disk they take.
"""

import concurrent.futures
import dataclasses
import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

from deeplab2_like.console import progress, version
from deeplab2_like.large_images import bands as bands_lib
from deeplab2_like.large_images import (
    blending,
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
from deeplab2_like.large_images import tiling as tiling_lib
from deeplab2_like.large_images.options import LargeOptions
from deeplab2_like.large_images.result import LargeResult, Segments
from deeplab2_like.large_images.source import Box, LargeImage, Window
from deeplab2_like.postprocess.options import PixelRules
from deeplab2_like.storage import in_order, json_files

_FORMAT = 1
_CENTERS, _SEGMENTS = "centers.npz", "segments.npz"
_MAX_NAMED = 20
# Tiles in which objects are found share a quarter of their side.
_OBJECT_SHARE = 4


def predict_large(
    model: network.TileModel,
    image: LargeImage,
    options: LargeOptions,
    work: str | os.PathLike[str],
    report: progress.Progress,
    *,
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
        owner: What deletes the work files when the result is not used any
            more.

    Raises:
        ConfigError: The tiles do not fit the model.
        DataError: The image cannot be read, or the folder holds other files.
    """
    factor = model.preprocessing.input_scale_factor
    if factor != 1:
        image = scaled.ScaledImage(image, factor)
    net = network.TileNetwork(model, options)
    folder = work_folder.WorkFolder(work, _plan(model, image, options))
    task = _Task(model, image, options, net, folder, report)
    if model.system.pixel_rules is not None:
        result = task.predict_pixels(model.system.pixel_rules, owner)
    else:
        result = task.predict_objects(owner)
    if isinstance(image, scaled.ScaledImage):
        return scaled.restore(result, image)
    return result


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
        # What images of several channels, or of more than 8 bits, are read as.
        "channels": getattr(image, "channels", None),
        "value_range": getattr(image, "value_range", None),
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

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.image.height, self.image.width

    def predict_pixels(self, rules: PixelRules, owner: Any) -> LargeResult:
        """Predicts with a system whose outputs are maps."""
        is_given = self.options.overlap is not None
        tiling = self._make_tiling(0 if is_given else self._find_overlap())
        if not self.folder.has(_SEGMENTS):
            self._predict_tiles(tiling)
            self._segment(tiling, rules)
        self.folder.delete("tiles/*.heads", "bands/*.packed.f4", "bands/*.npz")
        return self._load(tiling, owner)

    def predict_objects(self, owner: Any) -> LargeResult:
        """Predicts with a system that finds objects in each tile."""
        # Objects are no maps that could be compared position by position.
        largest = tiling_lib.find_largest_overlap(
            self.net.tile, self.net.stride, self.net.remainder
        )
        share = self.net.tile // _OBJECT_SHARE
        tiling = self._make_tiling(min(share, largest))
        if not self.folder.has(_SEGMENTS):
            limit = self._segment_tiles(tiling)
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

    def _predict_tiles(self, tiling: tiling_lib.Tiling) -> None:
        """Runs the network on the tiles that are not done."""

        def predict(index: int, window: Window) -> None:
            maps = self.net.infer_maps(window.image)
            self.folder.note_once("heads", _describe(maps))
            self.folder.write_tile(index, maps)

        self._visit_tiles(tiling, self.folder.has_tile, predict)

    def _segment_tiles(self, tiling: tiling_lib.Tiling) -> int:
        """Segments the tiles that are not done; returns the limit of stuff."""
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
        return segmenter.stuff_area_limit

    def _visit_tiles(
        self,
        tiling: tiling_lib.Tiling,
        is_done: Callable[[int], bool],
        visit: Callable[[int, Window], None],
    ) -> None:
        """Reads the tiles that are not done, and calls a function with each."""
        done = sum(map(is_done, range(len(tiling))))
        with self.report.phase(
            "Predicting tiles", len(tiling), start=done, unit="tiles"
        ) as phase:
            left = [i for i in range(len(tiling)) if not is_done(i)]
            # The next tile is read while the network runs.
            with concurrent.futures.ThreadPoolExecutor(1) as executor:
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
        found: set[Box] = set()
        for index in range(len(tiling)):
            found.update(self.folder.read_damage(index))
        # Tiles say it of what they show; the largest of these parts is enough.
        kept: list[Box] = []
        for box in sorted(found, key=lambda b: (b.top, b.left, -b.right)):
            if not any(_contains(other, box) for other in kept[-_MAX_NAMED:]):
                kept.append(box)
        return kept

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
            _describe_damage(self.image, self._list_damage(tiling)),
            num_merged,
        )


def _describe(maps: network.Maps) -> dict[str, Any]:
    """Returns the arguments of the `HeadShape` of maps."""
    height, width = next(iter(maps.values())).shape[:2]
    channels = {name: values.shape[2] for name, values in maps.items()}
    return {"height": height, "width": width, "channels": channels}


def _contains(box: Box, other: Box) -> bool:
    starts = box.top <= other.top and box.left <= other.left
    return starts and box.bottom >= other.bottom and box.right >= other.right


def _describe_damage(image: LargeImage, damaged: list[Box]) -> tuple[str, ...]:
    """Returns a sentence for each damaged part, and one for the others."""
    if isinstance(image, scaled.ScaledImage):
        damaged = [image.locate(box) for box in damaged]
    sentences = [
        f"{image.path}: rows {box.top} to {box.bottom - 1}, columns {box.left} "
        f"to {box.right - 1} cannot be decoded and are left void."
        for box in damaged[:_MAX_NAMED]
    ]
    if len(damaged) > _MAX_NAMED:
        sentences.append(
            f"{image.path}: {len(damaged) - _MAX_NAMED} more parts cannot be "
            "decoded and are left void."
        )
    return tuple(sentences)
