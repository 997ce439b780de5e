# SPDX-License-Identifier: Apache-2.0
"""Predicts the frames of a video and writes them as a video. Needs PyAV.

Without --link each frame is an image of its own: the number of a segment says
nothing about the frame before.
"""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import numpy as np
import numpy.typing as npt

from deeplab2_like import errors
from deeplab2_like.predict import links, video_reader, video_writer
from deeplab2_like.predict.inputs import VIDEO_OVERLAY_ENDING
from deeplab2_like.predict.journal import Source
from deeplab2_like.predict.result_folder import PANOPTIC_ENDING, Item
from deeplab2_like.predict.running import Run
from deeplab2_like.results.panoptic_result import PanopticResult
from deeplab2_like.storage import image_files, whole_files
from deeplab2_like.visualize import visualizer


def predict_video(file: image_files.ImageFile, run: Run) -> None:
    """Predicts a video and writes its overlay; frames too where asked for.

    Segments of frames are stored until the video is complete, so that a run
    that was killed predicts none again.

    Args:
        file: The video.
        run: The model, the options and the folder of results.

    Raises:
        DataError: The file is no video or has no frame that can be used, or
            its results would replace other files.
    """
    overlay = file.name + VIDEO_OVERLAY_ENDING
    journal = run.results.journal
    source = Source.of_file(file.path)
    frames = _Frames(file, source, run)
    if journal.find(file.name, source):
        entry = journal.read(file.name)
        frames.list_earlier()
        for number, problem in entry["problems"]:
            run.leave_out(f"{source.path}#{number}", problem)
        run.results.videos.append(overlay)
        if run.options.link:
            run.results.tracks.append(links.name_file(file.name))
        return
    journal.require_free(file.name, [overlay])
    problems = []
    with (
        video_reader.VideoReader(file.path) as reader,
        _Overlay(run.results.folder / overlay, reader) as writer,
        frames,
    ):
        _check_size(file, reader, run)
        with run.report.phase(
            f"Predicting {file.relative_path}",
            reader.num_frames,
            unit="frames",
        ) as phase:
            for frame in frames.read(reader):
                if isinstance(frame, video_reader.Damage):
                    problem = (
                        f"{file.path}, frame {frame.number}: {frame.problem}."
                    )
                    problems.append((frame.number, problem))
                    run.leave_out(f"{source.path}#{frame.number}", problem)
                    frames.skip()
                else:
                    journal.begin(file.name)
                    writer.write(frames.draw(frame), frame.pts)
                phase.advance(frame.number + 1)
        if writer.is_empty:
            raise errors.DataError(
                f"{file.path} has no frame that can be decoded between "
                "--start_seconds and --end_seconds."
            )
    files = [overlay, *frames.list_tracks()]
    journal.complete(file.name, source, files, {"problems": problems})
    run.results.videos.append(overlay)
    frames.clear()


class _Overlay:
    """The video that is written, complete or not at all."""

    def __init__(self, path: pathlib.Path, reader: video_reader.VideoReader):
        """Stores the path; writes nothing before the first frame."""
        self._path = path
        self._reader = reader
        self._stack = contextlib.ExitStack()
        self._writer: video_writer.VideoWriter | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no frame was written."""
        return self._writer is None

    def write(self, picture_hw3: npt.NDArray[np.uint8], pts: int) -> None:
        """Writes a frame, whose time is that in the video that is read."""
        if self._writer is None:
            (partial,) = self._stack.enter_context(
                whole_files.WholeFiles([self._path])
            )
            self._writer = self._stack.enter_context(
                video_writer.VideoWriter(
                    partial,
                    time_base=self._reader.time_base,
                    rate=self._reader.rate,
                    pixel_aspect=self._reader.pixel_aspect,
                )
            )
        self._writer.write(picture_hw3, pts)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, value, traceback)


def _check_size(
    file: image_files.ImageFile, reader: video_reader.VideoReader, run: Run
) -> None:
    if reader.num_pixels > run.max_pixels:
        raise errors.DataError(
            f"The frames of {file.path} have {reader.num_pixels} pixels. The "
            f"limit is {run.max_pixels}: reduce them, or export the model with "
            "a higher --max_pixels."
        )


class _Frames:
    """The frames of a video and where their segments are stored."""

    def __init__(self, file: image_files.ImageFile, source: Source, run: Run):
        """Stores what all frames share."""
        self._file = file
        self._source = source
        self._run = run
        self._has_results = run.options.frame_results or run.options.link
        self._links: links.Links | None = None
        if run.options.link:
            self._links = links.Links(
                file.name, file.relative_path, run, source=source
            )
        name = pathlib.PurePosixPath(file.name)
        if not self._has_results:
            name = name.with_name(f".{name.name}.frames")
        self._folder = name.as_posix()

    def __enter__(self) -> Self:
        if self._links is not None:
            self._links.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._links is not None:
            self._links.__exit__(kind, value, traceback)

    def skip(self) -> None:
        """Passes over a frame that cannot be decoded."""
        if self._links is not None:
            self._links.skip()

    def list_tracks(self) -> list[str]:
        """Returns the file of the tracks, below the folder, if there is one."""
        return [] if self._links is None else [self._links.file]

    def read(
        self, reader: video_reader.VideoReader
    ) -> Iterator[video_reader.Frame | video_reader.Damage]:
        """Yields the frames that are to be predicted, and what is damaged.

        With a start, times are those since the first frame; the JSON file has
        those of the whole video.
        """
        options = self._run.options
        first: int | None = None
        for frame in reader.read(
            step=options.frame_step,
            start=options.start_seconds,
            end=options.end_seconds,
        ):
            if isinstance(frame, video_reader.Frame) and options.start_seconds:
                first = frame.pts if first is None else first
                frame = dataclasses.replace(frame, pts=frame.pts - first)
            yield frame

    def draw(self, frame: video_reader.Frame) -> npt.NDArray[np.uint8]:
        """Predicts a frame unless it was, and paints its segments over it."""
        item = self._to_item(frame)
        if self._links is not None:
            found = self._links.add(item, frame.number)
        elif self._run.results.is_done(item):
            found = self._run.results.load(item.name)
        else:
            found = self._run.predict(item, frame.pixels)
        if self._has_results:
            self._run.results.list_image(item.name, None)
        return self._paint(frame.pixels, found)

    def _to_item(self, frame: video_reader.Frame) -> Item:
        name = f"{frame.number:06d}"
        return Item(
            f"{self._folder}/{name}",
            f"{self._folder}/{name}.png",
            self._source.of_part(frame.number),
            lambda: frame.pixels,
            facts={
                "video": self._file.relative_path,
                "frame": frame.number,
                "seconds": frame.seconds,
            },
            has_overlay=False,
            is_listed=self._has_results,
        )

    def _paint(
        self, pixels_hw3: npt.NDArray[np.uint8], found: PanopticResult
    ) -> npt.NDArray[np.uint8]:
        return visualizer.visualize(
            pixels_hw3, found, self._run.descriptor, scale=1, legend=False
        )

    def list_earlier(self) -> None:
        """Lists the frames of a video that is complete."""
        if not self._has_results:
            return
        journal = self._run.results.journal
        for name in journal.list_below(f"{self._folder}/"):
            path, *version, _ = journal.read(name)["source"]
            if (path, *version) == (
                self._source.path,
                self._source.size,
                self._source.changed,
            ):
                self._run.results.list_image(name, None)

    def clear(self) -> None:
        """Deletes the stored segments that are no results."""
        if self._has_results:
            return
        folder = self._run.results.folder
        for name in self._run.results.journal.list_below(f"{self._folder}/"):
            (folder / (name + PANOPTIC_ENDING)).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            os.rmdir(folder / self._folder)
