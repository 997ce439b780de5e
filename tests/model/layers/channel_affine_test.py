# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.model.layers.channel_affine import ChannelAffine
from deeplab2_like.testing import harness


def test_the_layer_passes_the_harness(tmp_path):
    harness.check_layer(
        lambda: ChannelAffine((0.1, 0.2, 0.3), (0.4, 0.5, 0.6), name="layer"),
        tmp_path,
        shapes=((2, 5, 6, 3), (1, 4, 3, 3)),
    )


@pytest.mark.parametrize(
    ("arguments", "mean", "deviation"),
    [
        ((), [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        (([0.1, 0.2, 0.3], [0.4, 0.5, 0.6]), [0.1, 0.2, 0.3], [0.4, 0.5, 0.6]),
    ],
)
def test_images_are_normalized_to_mean_and_deviation(
    arguments, mean, deviation
):
    """Without arguments to those of ImageNet."""
    layer = ChannelAffine(*arguments, name="normalize")
    layer.build((None, None, None, 3))
    pixels = np.array([0.0, 100.0, 255.0], np.float32)
    image = np.broadcast_to(pixels[None, :, None, None], (1, 3, 2, 3))
    np.testing.assert_allclose(
        layer(image / 127.5 - 1.0),
        (image / 255.0 - mean) / deviation,
        atol=1e-5,
    )
