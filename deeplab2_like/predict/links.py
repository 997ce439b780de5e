# SPDX-License-Identifier: Apache-2.0
"""Links the results of consecutive frames and writes their tracks.

A linked result is stored with the ids of its tracks. Linked again, it gets the
same ids, so that a run that was killed links the frames that it finds and goes
on with those that are missing.
"""

import contextlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.labels import label_map
from deeplab2_like.predict.journal import Journal, Source
from deeplab2_like.predict.result_folder import Item
from deeplab2_like.predict.running import Run
from deeplab2_like.results import tracks_json
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.tracking import linking


def name_file(name: str) -> str:
    """Returns the path of the tracks of a sequence below the results."""
    return name + tracks_json.ENDING if name else tracks_json.ENDING[1:]


class FrameError(errors.DataError):
    """A frame cannot be read or predicted; the others can be linked."""


def require_own(file: str, source: Source, journal: Journal) -> None:
    """Checks that a file of tracks may be written.

    Args:
        file: Its path below the results.
        source: The video, folder or stack.
        journal: What the folder of results holds.

    Raises:
        DataError: It is somebody else's, that of another source, or was
            changed since it was written.
    """
    journal.find(file, source)
    journal.require_free(file, [file])


def _load(item: Item) -> npt.NDArray[np.uint8]:
    try:
        return item.load()
    except errors.DataError as error:
        raise FrameError(str(error)) from error


class Links:
    """The linked frames of a video, a folder or a stack.

    Attributes:
        file: Path of the file of the tracks, below the folder of the results;
            "" for none.
    """

    def __init__(
        self,
        name: str | None,
        title: str,
        run: Run,
        *,
        source: Source,
        is_listed: bool = True,
    ):
        """Begins without frames; writes nothing.

        Args:
            name: Name of the results of the sequence, a path below their
                folder; None: no file of tracks is written.
            title: Name of the sequence in the file of the tracks.
            run: The model, the options and the folder of results.
            source: The video, folder or stack, to which the file belongs.
            is_listed: Whether the file becomes one of `run.results.tracks`.
        """
        self.file = "" if name is None else name_file(name)
        self._is_listed = is_listed
        self._title = title
        self._source = source
        self._run = run
        self._linker = linking.Linker(run.options.link_rules)
        self._stack = contextlib.ExitStack()
        self._writer: tracks_json.TracksWriter | None = None
        # Of each class, its tracks with their numbers from 1.
        self._numbers: dict[int, dict[int, int]] = {}

    def add(self, item: Item, frame: int) -> PanopticResult:
        """Predicts a frame unless it was, links it and writes its results.

        Args:
            item: The frame.
            frame: Its number in the file of the tracks.

        Returns:
            Its segments with the ids of their tracks.

        Raises:
            FrameError: The frame cannot be read or predicted. It is passed
                over, unless its segments were stored and are only written
                again.
            DataError: Somebody else's files would be replaced, or a class has
                more tracks than label maps can number.
        """
        results = self._run.results
        is_done = results.is_done(item)
        pixels_hw3 = None
        if is_done:
            found = results.load(item.name)
        else:
            pixels_hw3, found = self._infer(item)
        linked = linking.apply(found, self._linker.add_result(found))
        numbers = self._number(linked)
        if not is_done or (
            results.journal.read(item.name)["segments_info"]
            != linked.to_coco_segments()
        ):
            if pixels_hw3 is None:
                pixels_hw3 = _load(item)
            maps = self._make_maps(linked, numbers) if item.is_listed else {}
            results.write(item, pixels_hw3, maps, linked)
        if self.file:
            self._open().add(
                frame, {"file_name": item.file_name, **item.facts}, linked
            )
        return linked

    def _infer(
        self, item: Item
    ) -> tuple[npt.NDArray[np.uint8], PanopticResult]:
        """Returns the pixels of a frame and its segments."""
        try:
            pixels_hw3 = item.load()
            _, found = self._run.infer(pixels_hw3)
        except errors.DataError as error:
            self.skip()
            raise FrameError(str(error)) from error
        return pixels_hw3, found

    def _open(self) -> tracks_json.TracksWriter:
        """Returns the writer of the tracks, which the first frame opens."""
        if self._writer is None:
            results = self._run.results
            path = results.folder / self.file
            path.parent.mkdir(parents=True, exist_ok=True)
            results.journal.begin(self.file)
            self._writer = self._stack.enter_context(
                tracks_json.TracksWriter(
                    path, self._run.descriptor, self._title
                )
            )
        return self._writer

    def skip(self) -> None:
        """Passes over a frame that cannot be read."""
        self._linker.skip()

    def _number(self, linked: PanopticResult) -> list[int]:
        """Numbers the tracks of each class from 1; stuff has 0."""
        found = []
        for info in linked.segments_info:
            number = 0
            if info["isthing"]:
                numbers = self._numbers.setdefault(info["label_id"], {})
                number = numbers.setdefault(info["id"], len(numbers) + 1)
            found.append(number)
        return found

    def _make_maps(
        self, linked: PanopticResult, numbers: list[int]
    ) -> Mapping[str, npt.NDArray[Any]]:
        """Returns the label maps that are written, of numbered tracks."""
        if self._run.options.raw_panoptic_format is None:
            return {}
        divisor = linked.label_divisor
        most = max(numbers, default=0)
        if most >= divisor:
            raise errors.DataError(
                f"A class has {most} tracks or more, and label maps of this "
                f"data set number up to {divisor - 1} objects of a class. "
                "Raise label_divisor, or leave out --raw_panoptic_format."
            )
        labels = [
            info["label_id"] * divisor + number
            for info, number in zip(linked.segments_info, numbers, strict=True)
        ]
        ids = np.array([info["id"] for info in linked.segments_info], np.int64)
        panoptic = label_map.replace_values(
            linked.segmentation,
            ids,
            np.array(labels, np.int64),
            linked.ignore_label * divisor,
        )
        return {"semantic": linked.semantic(), "panoptic": panoptic}

    def __enter__(self) -> Self:
        if self.file:
            require_own(self.file, self._source, self._run.results.journal)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, value, traceback)
        if kind is not None or self._writer is None:
            return
        results = self._run.results
        results.journal.complete(self.file, self._source, [self.file], {})
        if self._is_listed:
            results.tracks.append(self.file)
