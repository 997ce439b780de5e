# SPDX-License-Identifier: Apache-2.0
import numpy as np
import pytest

from deeplab2_like.model.decoders.aspp_decoder import Decoder
from deeplab2_like.testing import harness

_ASPP = {"filters": 6, "atrous_rates": [1, 2, 3], "pool_size": [3, 4]}
_SHAPES = (
    {"res2": (1, 17, 25, 4), "res3": (1, 9, 13, 5), "res5": (1, 3, 4, 8)},
    {"res2": (1, 16, 22, 4), "res3": (1, 8, 11, 5), "res5": (1, 2, 3, 8)},
)


@pytest.mark.parametrize(
    "conv_type",
    [
        "depthwise_separable_conv",
        pytest.param("standard_conv", marks=pytest.mark.slow),
    ],
)
def test_the_decoder_passes_the_harness(conv_type, tmp_path):
    harness.check_layer(
        lambda: Decoder(
            "res5",
            [("res3", 3), ("res2", 2)],
            aspp=_ASPP,
            fusion_channels=7,
            conv_type=conv_type,
            name="semantic_decoder",
        ),
        tmp_path,
        shapes=_SHAPES,
    )


def test_the_finest_level_gives_the_size():
    decoder = Decoder(
        low_level=[("res3", 3)], aspp=_ASPP, fusion_channels=7, name="decoder"
    )
    features = {k: np.ones(s, np.float32) for k, s in _SHAPES[1].items()}
    assert decoder(features).shape == (1, 8, 11, 7)
    assert decoder.output_channels == 7


def test_without_finer_levels_the_aspp_is_the_decoder():
    decoder = Decoder("res3", aspp=_ASPP, name="decoder")
    features = {k: np.ones(s, np.float32) for k, s in _SHAPES[0].items()}
    assert decoder(features).shape == (1, 9, 13, 6)
    assert decoder.output_channels == 6


def test_an_endpoint_that_the_backbone_lacks_is_named():
    decoder = Decoder(low_level=[("res4", 3)], aspp=_ASPP, name="decoder")
    with pytest.raises(ValueError, match="'res4' - there are res2, res3, res5"):
        decoder.build(_SHAPES[0])
