# SPDX-License-Identifier: Apache-2.0
"""Image sizes that the networks accept, in plain Python.

A canvas is the input of the network, after padding or cropping. Its sides are
k * stride + 1 pixels, so that align-corners resizing and the strided
convolutions keep the corner pixels of all feature maps aligned (deeplab2:
crop_size, g3doc/faq.md). Weights that were trained with sides of k * stride
need these: the `remainder` is `DatasetOptions.canvas_remainder`, 1 or 0.
"""

from collections.abc import Sequence


def is_legal_canvas(size: int, output_stride: int, remainder: int = 1) -> bool:
    """Returns whether a side is k * output_stride + remainder, k >= 1.

    Args:
        size: Height or width, pixels.
        output_stride: Stride of the features, pixels, > 0.
        remainder: 1 or 0.
    """
    steps, rest = divmod(size - remainder, output_stride)
    return steps >= 1 and rest == 0


def legal_canvas(size: int, output_stride: int, remainder: int = 1) -> int:
    """Returns the smallest legal side of at least `size` pixels.

    Args:
        size: Height or width of an image, pixels, > 0.
        output_stride: Stride of the features, pixels, > 0.
        remainder: 1 or 0.
    """
    steps = max(1, -(-(size - remainder) // output_stride))
    return steps * output_stride + remainder


def nearest_legal_canvases(
    size: int, output_stride: int, remainder: int = 1
) -> tuple[int, ...]:
    """Returns the legal sides next to `size`: (below, above), or the only one.

    Args:
        size: Any number of pixels.
        output_stride: Stride of the features, pixels, > 0.
        remainder: 1 or 0.
    """
    above = legal_canvas(size, output_stride, remainder)
    if above == size or above == output_stride + remainder:
        return (above,)
    return (above - output_stride, above)


def describe_legal(output_stride: int, remainder: int = 1) -> str:
    """Describes legal sides: "k * 32 + 1", "k * 32"."""
    end = f" + {remainder}" if remainder else ""
    return f"k * {output_stride}{end}"


def compute_canvas(
    image_size: Sequence[int],
    crop_size: Sequence[int],
    pad_to_multiple_of: int = 0,
    remainder: int = 1,
) -> tuple[int, int]:
    """Returns the canvas of an evaluation image.

    Args:
        image_size: Height and width of the image, pixels, after resizing.
        crop_size: Height and width of `DatasetOptions.crop_size`.
        pad_to_multiple_of: `DatasetOptions.pad_to_multiple_of`: 0 means
            `crop_size` for every image, n > 0 the smallest n * k + remainder
            that holds both the image and `crop_size`.
        remainder: 1 or 0.

    Returns:
        Height and width, pixels.
    """
    height, width = crop_size
    if pad_to_multiple_of > 0:
        height, width = (
            legal_canvas(max(image, crop), pad_to_multiple_of, remainder)
            for image, crop in zip(image_size, crop_size, strict=True)
        )
    return height, width
