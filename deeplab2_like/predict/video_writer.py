# SPDX-License-Identifier: Apache-2.0
"""Writes frames with their times to a video file. Needs PyAV."""

import contextlib
import fractions
import os
from collections.abc import Iterator
from typing import Any, Self

import av
import numpy as np
import numpy.typing as npt

# Near to what the eye sees as without loss.
_QUALITY = {"crf": "20", "preset": "veryfast"}
_BT709 = 1


class VideoWriter:
    """An MP4 file, H.264, without sound.

    The first frame decides about the size; the others are scaled to it. Sides
    of an odd number of pixels are kept, for which the colors are not halved in
    size (4:4:4); some players do not show these.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        time_base: fractions.Fraction,
        rate: fractions.Fraction,
        pixel_aspect: fractions.Fraction = fractions.Fraction(1),
    ):
        """Creates the file.

        Args:
            path: Path of the file.
            time_base: Seconds of a unit of the frames' times.
            rate: Frames a second, on average.
            pixel_aspect: Width of a pixel by its height.
        """
        self._time_base = time_base
        self._rate = rate
        self._pixel_aspect = pixel_aspect
        self._path = os.fspath(path)
        self._container = av.open(self._path, "w", format="mp4")
        self._stream: Any = None
        self._last: int | None = None

    def write(self, pixels_hw3: npt.NDArray[np.uint8], pts: int) -> None:
        """Writes a frame.

        Args:
            pixels_hw3: uint8 [H, W, 3], RGB.
            pts: Time of the frame in units of `time_base`; one that is not
                after the frame before is moved behind it.

        Raises:
            OSError: The file cannot be written.
        """
        if self._stream is None:
            self._stream = self._add_stream(*pixels_hw3.shape[:2])
        if self._last is not None:
            pts = max(pts, self._last + 1)
        self._last = pts
        frame = av.VideoFrame.from_ndarray(
            np.ascontiguousarray(pixels_hw3), "rgb24"
        ).reformat(
            self._stream.width,
            self._stream.height,
            self._stream.pix_fmt,
            dst_colorspace="ITU709",
        )
        frame.pts = pts
        frame.time_base = self._time_base
        with self._os_errors():
            self._container.mux(self._stream.encode(frame))

    @contextlib.contextmanager
    def _os_errors(self) -> Iterator[None]:
        """Raises what FFmpeg cannot write as Python's own errors do."""
        try:
            yield
        except av.error.FFmpegError as error:
            raise OSError(error.errno, error.strerror, self._path) from error

    def _add_stream(self, height: int, width: int) -> Any:
        stream = self._container.add_stream(
            "libx264", rate=self._rate, options=dict(_QUALITY)
        )
        stream.width, stream.height = width, height
        is_even = height % 2 == 0 and width % 2 == 0
        stream.pix_fmt = "yuv420p" if is_even else "yuv444p"
        context = stream.codec_context
        context.time_base = self._time_base
        # With frames that refer to later ones, the file would state too short
        # a duration when the times are irregular.
        context.max_b_frames = 0
        context.colorspace = _BT709
        context.color_primaries = _BT709
        context.color_trc = _BT709
        if self._pixel_aspect != 1:
            context.sample_aspect_ratio = self._pixel_aspect
        return stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            with contextlib.suppress(av.error.FFmpegError):
                self._container.close()
            return
        with self._os_errors():
            if self._stream is not None:
                self._container.mux(self._stream.encode())
            self._container.close()
