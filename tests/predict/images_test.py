# SPDX-License-Identifier: Apache-2.0
import pytest

from deeplab2_like.predict.images import ImagePredictor


def test_a_model_without_a_network_for_tiles_cannot_be_made(fake_models):
    class Incomplete(fake_models.FakeModel):
        tile_model = ImagePredictor.tile_model

    with pytest.raises(TypeError, match="tile_model"):
        Incomplete()
