# SPDX-License-Identifier: Apache-2.0
"""Reads the frames of a video file one by one, past damage. Needs PyAV."""

import dataclasses
import fractions
import os
import re
from collections.abc import Iterator
from typing import Any, Self

import av
import numpy as np
import numpy.typing as npt

from deeplab2_like import errors

# FFmpeg would also follow addresses that a file contains.
_OPTIONS = {"protocol_whitelist": "file"}
# A file that ends this much before the end that its header states is cut off.
_LEAST_MISSING_SECONDS = 0.5
_LEAST_MISSING_FRAMES = 3
_TAGGED_DURATION = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")


@dataclasses.dataclass(frozen=True)
class Frame:
    """A frame that was decoded.

    Attributes:
        number: Place in the video, from 0, damaged frames included.
        pts: Time since the start of the video, in units of
            `VideoReader.time_base`.
        seconds: The same in seconds.
        pixels: uint8 [H, W, 3], RGB, turned upright.
    """

    number: int
    pts: int
    seconds: float
    pixels: npt.NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Damage:
    """A frame, or the rest of a video, that cannot be decoded.

    Attributes:
        number: About the place of the frame, or of the first one that is
            missing.
        problem: What is wrong, a sentence without a full stop.
    """

    number: int
    problem: str


class VideoReader:
    """A video file.

    Attributes:
        time_base: Seconds of a unit of `Frame.pts`.
        rate: Frames a second, on average; 25 where the file does not say.
        num_frames: Frames by the header of the file; None where it does not
            say.
        pixel_aspect: Width of a pixel by its height; as frames are yielded
            from the first one on.
        num_pixels: Pixels of a frame.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Opens a file.

        Raises:
            DataError: It is no video, or its header is damaged.
        """
        self._path = os.fspath(path)
        try:
            # An absolute path is no address, whatever characters it has.
            self._container = av.open(
                os.path.abspath(path), options=dict(_OPTIONS)
            )
        except (av.error.FFmpegError, OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise errors.DataError(
                f"{self._path} cannot be read as a video ({reason}). It is "
                "none, or was cut off or damaged: copy or record it again."
            ) from error
        streams = self._container.streams.video
        if not streams:
            self._container.close()
            raise errors.DataError(
                f"{self._path} has no pictures, only sound or data. Give a "
                "video."
            )
        self._stream = stream = streams[0]
        context = stream.codec_context
        self.time_base = fractions.Fraction(
            stream.time_base or fractions.Fraction(1, 1000)
        )
        self.rate = fractions.Fraction(
            stream.average_rate or stream.guessed_rate or 25
        )
        self._start = stream.start_time or 0
        self._duration = self._find_duration()
        self.num_frames = stream.frames or None
        if self.num_frames is None and self._duration:
            self.num_frames = round(self._duration * self.rate)
        self.pixel_aspect = stream.sample_aspect_ratio or fractions.Fraction(1)
        self.num_pixels = context.width * context.height

    def _find_duration(self) -> float | None:
        """Returns the seconds of the pictures by the header."""
        if self._stream.duration:
            return float(self._stream.duration * self.time_base)
        tag = _TAGGED_DURATION.match(self._stream.metadata.get("DURATION", ""))
        if tag:
            hours, minutes, seconds = map(float, tag.groups())
            return 3600 * hours + 60 * minutes + seconds
        if self._container.duration and not self._container.streams.audio:
            return float(self._container.duration / av.time_base)
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *unused: object) -> None:
        self._container.close()

    def read(
        self,
        *,
        step: int = 1,
        start: float = 0.0,
        end: float | None = None,
    ) -> Iterator[Frame | Damage]:
        """Yields the frames in the order of their times.

        Args:
            step: Frames whose number is a multiple of it are returned.
            start: Seconds before which no frame is returned.
            end: Seconds from which on none is returned; None: the end.

        Yields:
            Frames, and what is damaged between and behind them.
        """
        number, last, is_turned = 0, 0.0, False
        for decoded in self._decode():
            if isinstance(decoded, str):
                yield Damage(number, decoded)
                number += 1
                continue
            pts = decoded.pts if decoded.pts is not None else decoded.dts
            if pts is None:
                pts = self._start + round(number / self.rate / self.time_base)
            pts -= self._start
            last = float(pts * self.time_base)
            if end is not None and last >= end:
                return
            if last >= start and decoded.is_corrupt:
                yield Damage(number, f"the frame at {last:.2f} s is damaged")
            elif last >= start and number % step == 0:
                if not is_turned and round(decoded.rotation / 90) % 2:
                    self.pixel_aspect = 1 / self.pixel_aspect
                    is_turned = True
                yield Frame(number, pts, last, _to_upright(decoded))
            number += 1
        if self._duration is not None:
            least = _LEAST_MISSING_FRAMES / float(self.rate)
            missing = self._duration - last
            if missing > max(_LEAST_MISSING_SECONDS, least):
                yield Damage(
                    number,
                    f"the file ends at {last:.2f} of {self._duration:.2f} s",
                )

    def _decode(self) -> Iterator[Any]:
        """Yields decoded frames, and for each that is not what is wrong."""
        packets = self._container.demux(self._stream)
        while True:
            try:
                packet = next(packets, None)
            except (av.error.FFmpegError, OSError) as error:
                yield f"the rest cannot be read ({error.strerror})"
                return
            if packet is None:
                return
            try:
                yield from packet.decode()
            except av.error.FFmpegError:
                if packet.pts is not None:
                    seconds = float((packet.pts - self._start) * self.time_base)
                    yield f"the frame at {seconds:.2f} s is damaged"
                elif packet.size:
                    yield "a frame is damaged"


def _to_upright(decoded: Any) -> npt.NDArray[np.uint8]:
    """Returns the pixels of a frame as players show them."""
    pixels_hw3 = decoded.to_ndarray(format="rgb24")
    quarters = round(decoded.rotation / 90)  # Counterclockwise.
    return np.ascontiguousarray(np.rot90(pixels_hw3, quarters % 4))
