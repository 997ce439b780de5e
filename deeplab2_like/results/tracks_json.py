# SPDX-License-Identifier: Apache-2.0
"""Tracks of a video or volume as one JSON file in the style of COCO.

The file has `videos` (one, with its frames), `categories` and `annotations`,
one for each track, as YouTube-VIS has them; but the lists of an annotation
have an entry for each of its `frames`, not for all of the video.
"""

import array
import json
import os
import pathlib
import types
from collections.abc import Mapping
from typing import IO, Any, Self

from deeplab2_like.labels import label_map, masks
from deeplab2_like.labels.descriptor import DatasetDescriptor
from deeplab2_like.results import coco_writer
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import json_files, whole_files

ENDING = ".tracks.json"


class TracksWriter:
    """Writes tracks frame by frame; the file appears when it is closed.

    Segments go to a second file at once, which is deleted in the end. In
    memory are 8 bytes for each segment of a frame, and one track while the
    file is written. A `with` block that ends by an error leaves no file.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        descriptor: DatasetDescriptor,
        name: str,
    ):
        """Begins without frames.

        Args:
            path: Path of the file, in an existing folder.
            descriptor: The data set.
            name: Name of the video.
        """
        self._path = pathlib.Path(path)
        self._name = name
        self._categories = coco_writer.make_categories(descriptor)
        self._spool = self._path.with_name(f".{self._path.name}.spool")
        self._file: IO[bytes] = self._spool.open("w+b")
        self._frames = array.array("q")
        self._segments: dict[int, array.array[int]] = {}
        self._facts: dict[int, dict[str, Any]] = {}

    def add(
        self, frame: int, facts: Mapping[str, Any], result: PanopticResult
    ) -> None:
        """Adds a frame.

        Args:
            frame: Its number, above those before.
            facts: Further entries of the frame in the file.
            result: Its segments, whose ids are those of their tracks.
        """
        size = (result.height, result.width)
        line = {"frame": frame, **facts, "height": size[0], "width": size[1]}
        self._frames.append(self._append(line))
        found = label_map.compute_segments(result.segmentation)
        boxes = dict(zip(found.ids.tolist(), found.boxes.tolist(), strict=True))
        for info in result.segments_info:
            y, x, height, width = boxes[info["id"]]
            window = result.segmentation[y : y + height, x : x + width]
            mask = masks.Mask(y, x, window == info["id"])
            counts = masks.count_mask_runs(mask, size)
            place = self._append(
                [
                    frame,
                    info["bbox"],
                    info["area"],
                    info["score"],
                    masks.write_compressed_counts(counts),
                    size,
                ]
            )
            self._segments.setdefault(info["id"], array.array("q")).append(
                place
            )
            self._facts.setdefault(
                info["id"],
                {
                    "category_id": info["category_id"],
                    "isthing": int(info["isthing"]),
                },
            )

    def _append(self, value: Any) -> int:
        place = self._file.tell()
        self._file.write(json_files.to_line(value).encode() + b"\n")
        return place

    def _read(self, place: int) -> Any:
        self._file.seek(place)
        return json.loads(self._file.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: types.TracebackType | None,
    ) -> None:
        try:
            if kind is None:
                self._write()
        finally:
            self._file.close()
            self._spool.unlink(missing_ok=True)

    def _write(self) -> None:
        with whole_files.open_whole(self._path, "w") as file:
            video = {"id": 1, "name": self._name, "length": len(self._frames)}
            head = json_files.to_line(video)[:-1]
            file.write(f'{{"videos": [{head}, "frames": [')
            for number, place in enumerate(self._frames):
                file.write(",\n" if number else "\n")
                file.write(json_files.to_line(self._read(place)))
            categories = json_files.to_line(self._categories)
            file.write(f']}}],\n"categories": {categories},\n"annotations": [')
            for number, track in enumerate(sorted(self._segments)):
                file.write(",\n" if number else "\n")
                file.write(json_files.to_line(self._make_annotation(track)))
            file.write("\n]}\n")

    def _make_annotation(self, track: int) -> dict[str, Any]:
        rows = [self._read(place) for place in self._segments[track]]
        frames, boxes, areas, scores, counts, sizes = map(
            list, zip(*rows, strict=True)
        )
        return {
            "id": track,
            "video_id": 1,
            **self._facts[track],
            "iscrowd": 0,
            "frames": frames,
            "bboxes": boxes,
            "areas": areas,
            "scores": scores,
            "segmentations": [
                {"size": size, "counts": text}
                for size, text in zip(sizes, counts, strict=True)
            ],
        }
