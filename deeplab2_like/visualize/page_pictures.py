# SPDX-License-Identifier: Apache-2.0
"""Pictures as pages hold them."""

import io

from PIL import Image

from deeplab2_like.reports.report import Picture

PANEL_SIZE = 480  # Longer side of a picture in pixels.
_QUALITY = 88  # Of JPEG.


def encode(title: str, picture: Image.Image) -> Picture:
    """Encodes a picture as JPEG.

    Args:
        title: What it shows.
        picture: The picture, RGB.
    """
    stream = io.BytesIO()
    picture.save(stream, format="JPEG", quality=_QUALITY, subsampling=0)
    return Picture(
        title, stream.getvalue(), "image/jpeg", picture.width, picture.height
    )
