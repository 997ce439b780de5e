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
            DataError: The frame cannot be read, or somebody else's files would
                be replaced.
        """
        results = self._run.results
        is_done = results.is_done(item)
        pixels_hw3 = None
        if is_done:
            found = results.load(item.name)
        else:
            pixels_hw3 = item.load()
            _, found = self._run.infer(pixels_hw3)
        linked = linking.apply(found, self._linker.add_result(found))
        maps = self._to_maps(linked)
        _, annotation = linked.to_coco("", "")
        if not is_done or (
            results.journal.read(item.name)["segments_info"]
            != annotation["segments_info"]
        ):
            if pixels_hw3 is None:
                pixels_hw3 = item.load()
            results.write(item, pixels_hw3, maps, linked)
        if not self.file:
            return linked
        if self._writer is None:
            path = results.folder / self.file
            path.parent.mkdir(parents=True, exist_ok=True)
            results.journal.begin(self.file)
            self._writer = self._stack.enter_context(
                tracks_json.TracksWriter(
                    path, self._run.descriptor, self._title
                )
            )
        facts = {"file_name": item.file_name, **item.facts}
        self._writer.add(frame, facts, linked)
        return linked

    def skip(self) -> None:
        """Passes over a frame that cannot be read."""
        self._linker.skip()

    def _to_maps(
        self, linked: PanopticResult
    ) -> Mapping[str, npt.NDArray[Any]]:
        """Returns label maps, in which tracks are numbered by class."""
        divisor = linked.label_divisor
        labels = []
        for info in linked.segments_info:
            class_id, number = info["label_id"], 0
            if info["isthing"]:
                numbers = self._numbers.setdefault(class_id, {})
                number = numbers.setdefault(info["id"], len(numbers) + 1)
            labels.append(class_id * divisor + number)
        maps = {"semantic": linked.semantic()}
        if self._run.options.raw_panoptic_format is None:
            return maps
        most = max(map(len, self._numbers.values()), default=0)
        if most >= divisor:
            raise errors.DataError(
                f"A class has {most} tracks, and label maps of this data set "
                f"number up to {divisor - 1} objects of a class. Raise "
                "label_divisor, or leave out --raw_panoptic_format."
            )
        ids = np.array([info["id"] for info in linked.segments_info], np.int64)
        maps["panoptic"] = label_map.replace_values(
            linked.segmentation,
            ids,
            np.array(labels, np.int64),
            linked.ignore_label * divisor,
        )
        return maps

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
