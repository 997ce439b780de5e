# SPDX-License-Identifier: Apache-2.0
"""Frames with boxes that move, as folders of images and as videos."""

import fractions

import numpy as np
import pytest
from PIL import Image

SIZE = (40, 60)


def draw(time):
    """Two boxes that move; a third is missing in the frames 3 and 4."""
    pixels = np.full((*SIZE, 3), 30, np.uint8)
    pixels[4:14, 2 + 4 * time : 14 + 4 * time] = 200
    pixels[25:35, 46 - 4 * time : 58 - 4 * time] = 150
    if time not in (3, 4):
        pixels[17:23, 25:40] = 100
    return pixels


def write_folder(folder, times, name="frame{}.bmp"):
    folder.mkdir(parents=True, exist_ok=True)
    for time in times:
        Image.fromarray(draw(time)).save(folder / name.format(time))
    return folder


def write_video(path, times):
    av = pytest.importorskip("av", reason="PyAV is not installed")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.height, stream.width = SIZE
        stream.pix_fmt = "yuv444p"
        stream.codec_context.time_base = fractions.Fraction(1, 1000)
        for number, time in enumerate(times):
            frame = av.VideoFrame.from_ndarray(draw(time), "rgb24")
            frame.pts = 40 * number
            frame.time_base = fractions.Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path
